#include "runtime/ops/elementwise.h"

#include <glog/logging.h>

namespace trireme {

Tensor Add(Tensor a, Tensor b) {
  CHECK(a.shape() == b.shape() && a.dtype() == b.dtype())
      << "Add: " << a.value().name << a.shape().ToString() << " and " << b.value().name
      << b.shape().ToString();
  const Layout layout = Recorder::Infer("td,td->td", Linearity::kSum, {a, b});
  return a.recorder().Record1(OpKind::kAdd, {a, b}, {"sum", a.dtype(), a.shape(), layout});
}

void AddGradient(GradientContext& g) {
  const Tensor dy = g.gradient(0);
  if (g.needs(0)) g.Add(0, dy);
  if (g.needs(1)) g.Add(1, dy);
}

Tensor Accumulate(Tensor x) {
  return x.recorder().Record1(OpKind::kAccumulate, {x}, {"accumulated", x.dtype(), x.shape(), x.layout()});
}

}  // namespace trireme
