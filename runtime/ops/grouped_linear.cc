#include "runtime/ops/grouped_linear.h"

#include <glog/logging.h>

namespace trireme {
namespace {

// As Recorder::Infer, with ep apart: it cuts both operands between experts, whose products are each their
// own.
Layout InferByExpert(const char* signature, Tensor a, Tensor b) {
  const Placement ep = a.layout()[Axis::kEp];
  CHECK(b.layout()[Axis::kEp] == ep) << "GroupedLinear: " << a.layout().ToString() << " with "
                                     << b.layout().ToString();
  const absl::StatusOr<Layout> layout =
      Propagate(signature, Linearity::kProduct,
                {a.layout().With(Axis::kEp, kInvariant), b.layout().With(Axis::kEp, kInvariant)});
  CHECK(layout.ok()) << layout.status().message();
  return layout->With(Axis::kEp, ep);
}

}  // namespace

Tensor GroupedLinear(Tensor x, Tensor w, Tensor offsets) {
  const int64_t rows = x.shape()[0], k = w.shape()[1], experts = offsets.shape()[0] - 1;
  CHECK_EQ(x.shape()[1], k) << "GroupedLinear: " << x.value().name << x.shape().ToString() << " with "
                            << w.value().name << w.shape().ToString();
  CHECK_EQ(w.shape()[0] % experts, 0) << "GroupedLinear: " << w.shape().ToString();
  CHECK(x.dtype() == w.dtype()) << "GroupedLinear: " << Name(x.dtype()) << " with " << Name(w.dtype());
  const int64_t n = w.shape()[0] / experts;
  const Layout layout = InferByExpert("tk,nk->tn", x, w);
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(n) * static_cast<double>(k);
  return x.recorder().Record1(OpKind::kGroupedLinear, {x, w, offsets},
                              {"experts", x.dtype(), {rows, n}, layout}, {}, flops);
}

void GroupedLinearGradient(GradientContext& g) {
  const Tensor dy = g.gradient(0), x = g.input(0), w = g.input(1), offsets = g.input(2);
  if (g.needs(0)) {
    const Layout layout = InferByExpert("tn,nk->tk", dy, w);
    g.Add(0, g.recorder().Record1(OpKind::kGroupedLinearInputGrad, {dy, w, offsets},
                                  {"d.experts", x.dtype(), x.shape(), layout}, {}, g.op().flops));
  }
  if (g.needs(1)) {
    const Layout layout = InferByExpert("tn,tk->nk", dy, x);
    g.Add(1, g.recorder().Record1(OpKind::kGroupedLinearWeightGrad, {dy, x, offsets},
                                  {"d.experts.weight", g.recorder().precision().wide(), w.shape(), layout},
                                  {}, g.op().flops));
  }
}

}  // namespace trireme
