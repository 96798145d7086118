#include "runtime/passes/expand.h"

#include <glog/logging.h>

#include <algorithm>

#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/linear.h"
#include "runtime/passes/expand_ops.h"

namespace trireme {
namespace {

// Expands one composite. Its results become storage that the chunks' ops write windows of.
class Expansion {
 public:
  Expansion(Recorder& recorder, const Op& op, int64_t logits_bytes)
      : recorder_(recorder),
        op_(op),
        x_(Operand(op.inputs[0])),
        w_(Operand(op.inputs[1])),
        targets_(Operand(op.inputs[2])),
        vocabulary_(op.attributes.Int("vocabulary")),
        z_loss_(ZLossOf(op, recorder.program().value(op.outputs[0]).shape)) {
    const int64_t row_bytes = std::max<int64_t>(1, w_.shape()[0] * SizeOf(x_.dtype()));
    const int64_t rows = x_.shape()[0];
    const int64_t most = std::max<int64_t>(16, logits_bytes / row_bytes);
    const int64_t num_chunks = (rows + most - 1) / most;
    chunk_rows_ = (rows + num_chunks - 1) / num_chunks;
  }

  void Run() {
    for (int64_t begin = 0; begin < x_.shape()[0]; begin += chunk_rows_) {
      RunChunk(begin, std::min(chunk_rows_, x_.shape()[0] - begin));
    }
  }

 private:
  Tensor Operand(ValueId id) { return {&recorder_, id}; }

  void RunChunk(int64_t begin, int64_t rows) {
    const Tensor x = recorder_.Rows(x_, begin, rows);
    const Tensor targets = recorder_.Rows(targets_, begin, rows);
    const Tensor logits = Linear(x, w_);
    Rename(logits, "logits");
    const Tensor statistics = Merge(SoftmaxStatistics(logits, targets, vocabulary_));
    if (op_.kind == OpKind::kLinearCrossEntropy) {
      Place(CrossEntropyLoss(statistics, targets, z_loss_), op_.outputs[0], begin);
      return;
    }
    const std::vector<Tensor> results = CrossEntropyGrad(logits, statistics, targets, vocabulary_, z_loss_);
    Place(results[1], op_.outputs[0], begin);
    Place(LinearInputGrad(results[0], w_), op_.outputs[1], begin);
    LinearWeightGrad(results[0], x);
    Op& weight_gradient = recorder_.program().segments.back().ops.back();
    weight_gradient.outputs[0] = op_.outputs[2];
    weight_gradient.always_accumulates = begin > 0 || op_.always_accumulates;
  }

  // The statistics of all tp ranks, rank by rank.
  Tensor Merge(Tensor statistics) {
    const int size = recorder_.mesh()[Axis::kTp];
    const bool gather = size > 1;
    ResultSpec all = {"softmax.all", statistics.dtype(), statistics.shape(),
                      statistics.layout().With(Axis::kTp, kInvariant)};
    if (gather) all.shape[0] *= size;
    const Tensor merged = recorder_.Record1(gather ? OpKind::kAllGather : OpKind::kRelabel, {statistics}, all,
                                            {{"axis", static_cast<int64_t>(Axis::kTp)}});
    if (!gather) recorder_.program().values[merged.id()].base = statistics.id();
    return merged;
  }

  void Rename(Tensor x, const char* name) { recorder_.program().values[x.id()].name = name; }

  // From now on `part` is rows [begin, ...) of `whole`.
  void Place(Tensor part, ValueId whole, int64_t begin) {
    std::vector<Value>& values = recorder_.program().values;
    const Shape& shape = values[whole].shape;
    values[part.id()].base = whole;
    values[part.id()].offset = begin * (shape.num_elements() / shape[0]);
  }

  Recorder& recorder_;
  const Op op_;
  const Tensor x_, w_, targets_;
  const int64_t vocabulary_;
  const double z_loss_;
  int64_t chunk_rows_;
};

}  // namespace

void ExpandCrossEntropy(Recorder& recorder, int64_t logits_bytes) {
  ExpandOps(
      recorder,
      [](const Op& op) {
        return op.kind == OpKind::kLinearCrossEntropy || op.kind == OpKind::kLinearCrossEntropyGrad;
      },
      [&](const Op& op) { Expansion(recorder, op, logits_bytes).Run(); });
}

}  // namespace trireme
