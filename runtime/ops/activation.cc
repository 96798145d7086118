#include "runtime/ops/activation.h"

#include <glog/logging.h>

namespace trireme {

Tensor Gelu(Tensor x) {
  const Layout layout = Recorder::Infer("tf->tf", Linearity::kNonlinear, {x});
  return x.recorder().Record1(OpKind::kGelu, {x}, {"gelu", x.dtype(), x.shape(), layout});
}

void GeluGradient(GradientContext& g) {
  const Tensor dy = g.gradient(0), x = g.input(0);
  const Layout layout = Recorder::Infer("tf,tf->tf", Linearity::kNonlinear, {dy, x});
  g.Add(0, g.recorder().Record1(OpKind::kGeluGrad, {dy, x}, {"d.gelu", x.dtype(), x.shape(), layout}));
}

Tensor SwiGlu(Tensor gate_up, Tensor offsets) {
  const Shape& shape = gate_up.shape();
  CHECK_EQ(shape[1] % 2, 0) << "SwiGlu: gate and up differ in width";
  const Layout layout = Recorder::Infer("tf->tf", Linearity::kNonlinear, {gate_up});
  std::vector<Tensor> inputs = {gate_up};
  if (offsets.present()) inputs.push_back(offsets);
  return gate_up.recorder().Record1(OpKind::kSwiGlu, inputs,
                                    {"swiglu", gate_up.dtype(), {shape[0], shape[1] / 2}, layout});
}

void SwiGluGradient(GradientContext& g) {
  const Tensor dy = g.gradient(0), gate_up = g.input(0);
  const Layout layout = Recorder::Infer("tf,tf->tf", Linearity::kNonlinear, {dy, gate_up});
  std::vector<Tensor> inputs = {dy, gate_up};
  if (g.op().inputs.size() > 1) inputs.push_back(g.input(1));
  g.Add(0, g.recorder().Record1(OpKind::kSwiGluGrad, inputs,
                                {"d.swiglu", gate_up.dtype(), gate_up.shape(), layout}));
}

}  // namespace trireme
