#include "runtime/ops/cross_entropy.h"

#include <glog/logging.h>

namespace trireme {
namespace {

// The loss lies as the tokens do; on tp it is the same everywhere, merged from every rank's part of the
// vocabulary.
Layout LossLayout(Tensor x, Tensor w) {
  Layout layout;
  for (Axis axis : {Axis::kDp, Axis::kCp}) {
    CHECK(w.layout()[axis] == (x.layout()[axis].is_shard() ? kReplicate : x.layout()[axis]))
        << "LinearCrossEntropy: x " << x.layout().ToString() << ", w " << w.layout().ToString();
    layout[axis] = x.layout()[axis];
  }
  CHECK(x.layout()[Axis::kTp] == kReplicate && w.layout()[Axis::kTp] == Shard(0))
      << "LinearCrossEntropy: x " << x.layout().ToString() << ", w " << w.layout().ToString();
  return layout;
}

double HeadFlops(Tensor x, Tensor w) {
  return 2.0 * static_cast<double>(x.shape()[0]) * static_cast<double>(w.shape().num_elements());
}

Shape LossShape(int64_t rows, double z_loss) {
  return z_loss > 0 ? Shape{rows, kNumLossTerms} : Shape{rows};
}

Attributes HeadAttributes(int64_t vocabulary, double z_loss) {
  if (z_loss > 0) return {{"vocabulary", vocabulary}, {"z_loss", z_loss}};
  return {{"vocabulary", vocabulary}};
}

}  // namespace

double ZLossOf(const Op& op, const Shape& loss) {
  return loss.num_dims() == 1 ? 0 : op.attributes.Float("z_loss");
}

Tensor LinearCrossEntropy(Tensor x, Tensor w, Tensor targets, int64_t vocabulary, double z_loss) {
  CHECK_EQ(x.shape()[1], w.shape()[1]) << "LinearCrossEntropy";
  return x.recorder().Record1(
      OpKind::kLinearCrossEntropy, {x, w, targets},
      {"loss", x.recorder().precision().wide(), LossShape(x.shape()[0], z_loss), LossLayout(x, w)},
      HeadAttributes(vocabulary, z_loss), HeadFlops(x, w));
}

void LinearCrossEntropyGradient(GradientContext& g) {
  CHECK(!g.gradient(0).present())
      << "LinearCrossEntropy: as a root its gradient is one; nothing else may read "
         "the loss";
  const Tensor x = g.input(0), w = g.input(1), targets = g.input(2);
  const std::vector<Tensor> results =
      g.recorder().Record(OpKind::kLinearCrossEntropyGrad, {x, w, targets},
                          {{"loss", g.output(0).dtype(), g.output(0).shape(), g.output(0).layout()},
                           {"d.head", x.dtype(), x.shape(), Dual(x.layout())},
                           {"d.head_weight", g.recorder().precision().wide(), w.shape(), Dual(w.layout())}},
                          g.op().attributes, 3 * g.op().flops);
  g.Yield(0, results[0]);
  g.Add(1, results[2]);
  if (g.needs(0)) g.Add(0, results[1]);
}

Tensor SoftmaxStatistics(Tensor logits, Tensor targets, int64_t vocabulary) {
  Layout layout = logits.layout();
  if (layout[Axis::kTp] == Shard(1)) layout[Axis::kTp] = {Placement::Kind::kVarying, 0};
  return logits.recorder().Record1(
      OpKind::kSoftmaxStatistics, {logits, targets},
      {"softmax", logits.recorder().precision().wide(), {logits.shape()[0], 3}, layout},
      {{"vocabulary", vocabulary}});
}

Tensor CrossEntropyLoss(Tensor all_statistics, Tensor targets, double z_loss) {
  return all_statistics.recorder().Record1(
      OpKind::kCrossEntropyLoss, {all_statistics, targets},
      {"loss", all_statistics.dtype(), LossShape(targets.shape()[0], z_loss), all_statistics.layout()},
      z_loss > 0 ? Attributes{{"z_loss", z_loss}} : Attributes{});
}

std::vector<Tensor> CrossEntropyGrad(Tensor logits, Tensor all_statistics, Tensor targets, int64_t vocabulary,
                                     double z_loss) {
  return logits.recorder().Record(
      OpKind::kCrossEntropyGrad, {logits, all_statistics, targets},
      {{"d.logits", logits.dtype(), logits.shape(), logits.layout()},
       {"loss", all_statistics.dtype(), LossShape(targets.shape()[0], z_loss), all_statistics.layout()}},
      HeadAttributes(vocabulary, z_loss));
}

Tensor LossSum(Tensor loss) {
  const bool terms = loss.shape().num_dims() == 2;
  const Layout layout = Recorder::Infer(terms ? "tc->c" : "t->", Linearity::kProduct, {loss});
  return loss.recorder().Record1(OpKind::kLossSum, {loss},
                                 {"loss_sum", DType::kF64, {terms ? loss.shape().cols() : 1}, layout});
}

}  // namespace trireme
