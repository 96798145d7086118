// The head: vocabulary product and cross-entropy in one composite, so that logits exist a chunk of rows at a
// time.
#ifndef TRIREME_RUNTIME_OPS_CROSS_ENTROPY_H_
#define TRIREME_RUNTIME_OPS_CROSS_ENTROPY_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// loss[t] = logsumexp_v(x[t] . w[v]) - x[t] . w[targets[t]], over v < vocabulary.
//   x        [T, D]   Replicate on tp
//   w        [V, D]   Shard(0) on tp; rows from `vocabulary` on are padding and do not exist for the loss
//   targets  i32 [T]  a negative target has loss 0 and no gradient
// Returns loss [T], wide, Invariant on tp. A composite: ExpandCrossEntropy (passes/expand.h) replaces it.
// kLinearCrossEntropy: (x, w, targets) -> loss
// kLinearCrossEntropyGrad: (x, w, targets) -> loss, dx [T, D], dw [V, D] (may accumulate); as a root's
// gradient is one, it needs no loss beforehand and yields it. Attribute of both: vocabulary
Tensor LinearCrossEntropy(Tensor x, Tensor w, Tensor targets, int64_t vocabulary);
void LinearCrossEntropyGradient(GradientContext& g);

// What the composite expands to, for T' rows of logits of which this rank holds columns [r V', (r + 1) V') of
// the padded vocabulary (r: its coordinate on tp). Columns from `vocabulary` on are padding: skipped, and
// their gradient is zero.

// kSoftmaxStatistics: (logits [T', V'], targets i32 [T']) -> statistics [T', 3], wide: the maximum, the sum
// of exp(logit - maximum), and the target's logit or 0 where the target is not in this rank's columns. A rank
// with padding alone gives (-inf, 0, 0). Attribute: vocabulary
Tensor SoftmaxStatistics(Tensor logits, Tensor targets, int64_t vocabulary);

// kCrossEntropyLoss: (statistics of all R tp ranks [R T', 3], rank by rank, targets) -> loss [T'] wide
Tensor CrossEntropyLoss(Tensor all_statistics, Tensor targets);

// kCrossEntropyGrad: (logits, all_statistics, targets) -> dlogits [T', V'] = softmax - onehot(target), loss
// [T']. May overwrite logits with dlogits. Attribute: vocabulary
std::vector<Tensor> CrossEntropyGrad(Tensor logits, Tensor all_statistics, Tensor targets,
                                     int64_t vocabulary);

// kLossSum: (loss [T]) -> f64 [1], added in double in the order of t.
Tensor LossSum(Tensor loss);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_CROSS_ENTROPY_H_
