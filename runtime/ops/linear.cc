#include "runtime/ops/linear.h"

#include <glog/logging.h>

namespace trireme {
namespace {

double ProductFlops(int64_t rows, int64_t n, int64_t k) {
  return 2.0 * static_cast<double>(rows) * static_cast<double>(n) * static_cast<double>(k);
}

}  // namespace

Tensor Linear(Tensor x, Tensor w, Tensor bias) {
  const int64_t t = x.shape()[0], n = w.shape()[0], k = w.shape()[1];
  CHECK_EQ(x.shape()[1], k) << "Linear: " << x.value().name << x.shape().ToString() << " with "
                            << w.value().name << w.shape().ToString();
  CHECK(x.dtype() == w.dtype()) << "Linear: " << Name(x.dtype()) << " with " << Name(w.dtype());
  Layout layout = Recorder::Infer("tk,nk->tn", Linearity::kProduct, {x, w});
  if (bias.present()) {
    CHECK_EQ(bias.shape()[0], n) << "Linear: bias " << bias.value().name;
    // The bias is added to the product: along the tokens it is broadcast (Replicate where they are sharded),
    // along n it lies as the product does, and it must be Partial where the product is.
    for (Axis axis : {Axis::kDp, Axis::kCp, Axis::kTp}) {
      const Placement product = layout[axis];
      const Placement want = product == Shard(0) ? kReplicate : product == Shard(1) ? Shard(0) : product;
      CHECK(bias.layout()[axis] == want)
          << "Linear: bias " << bias.layout().ToString() << " beside a product " << layout.ToString();
    }
  }
  std::string name = w.value().name;
  if (const size_t end = name.rfind(".weight"); end != std::string::npos) name.resize(end);
  return x.recorder().Record1(OpKind::kLinear, {x, w, bias}, {name, x.dtype(), {t, n}, layout}, {},
                              ProductFlops(t, n, k));
}

Tensor LinearInputGrad(Tensor dy, Tensor w) {
  const int64_t t = dy.shape()[0], n = w.shape()[0], k = w.shape()[1];
  CHECK_EQ(dy.shape()[1], n);
  const Layout layout = Recorder::Infer("tn,nk->tk", Linearity::kProduct, {dy, w});
  return dy.recorder().Record1(OpKind::kLinearInputGrad, {dy, w}, {"d.input", dy.dtype(), {t, k}, layout}, {},
                               ProductFlops(t, n, k));
}

Tensor LinearWeightGrad(Tensor dy, Tensor x) {
  const int64_t t = dy.shape()[0], n = dy.shape()[1], k = x.shape()[1];
  CHECK_EQ(x.shape()[0], t);
  const Layout layout = Recorder::Infer("tn,tk->nk", Linearity::kProduct, {dy, x});
  return dy.recorder().Record1(OpKind::kLinearWeightGrad, {dy, x},
                               {"d.weight", dy.recorder().precision().wide(), {n, k}, layout}, {},
                               ProductFlops(t, n, k));
}

Tensor ColumnSum(Tensor dy) {
  const Layout layout = Recorder::Infer("tn->n", Linearity::kProduct, {dy});
  return dy.recorder().Record1(OpKind::kColumnSum, {dy},
                               {"d.bias", dy.recorder().precision().wide(), {dy.shape()[1]}, layout});
}

void LinearGradient(GradientContext& g) {
  const Tensor dy = g.gradient(0);
  if (g.needs(0)) g.Add(0, LinearInputGrad(dy, g.input(1)));
  if (g.needs(1)) g.Add(1, LinearWeightGrad(dy, g.input(0)));
  if (g.needs(2)) g.Add(2, ColumnSum(dy));
}

}  // namespace trireme
