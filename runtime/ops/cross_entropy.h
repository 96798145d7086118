// The head: vocabulary product and cross-entropy in one composite, so that logits exist a chunk of rows at a
// time.
#ifndef TRIREME_RUNTIME_OPS_CROSS_ENTROPY_H_
#define TRIREME_RUNTIME_OPS_CROSS_ENTROPY_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// The columns of a loss that has more than its first.
enum LossTerm { kCrossEntropyTerm, kZLossTerm, kNumLossTerms };

// loss[t] = logsumexp_v(x[t] . w[v]) - x[t] . w[targets[t]], over v < vocabulary.
//   x        [T, D]   Replicate on tp
//   w        [V, D]   Shard(0) on tp; rows from `vocabulary` on are padding and do not exist for the loss
//   targets  i32 [T]  a negative target has loss 0 and no gradient
// With `z_loss` above 0, z_loss * logsumexp_v(x[t] . w[v])^2 is added, which draws the logits' normaliser to
// 1: arXiv:2204.02311, section 5. The two terms stay apart, for the log: loss is [T, kNumLossTerms] then.
// Returns loss [T] or [T, kNumLossTerms], wide, Invariant on tp. A composite: ExpandCrossEntropy
// (passes/expand.h) replaces it. kLinearCrossEntropy: (x, w, targets) -> loss kLinearCrossEntropyGrad: (x, w,
// targets) -> loss, dx [T, D], dw [V, D] (may accumulate); as a root's gradient is one, it needs no loss
// beforehand and yields it. Attributes of both: vocabulary, and z_loss where loss is a matrix
Tensor LinearCrossEntropy(Tensor x, Tensor w, Tensor targets, int64_t vocabulary, double z_loss = 0);
void LinearCrossEntropyGradient(GradientContext& g);

// The z_loss of an op that yields `loss`; 0 where it is a vector.
double ZLossOf(const Op& op, const Shape& loss);

// What the composite expands to, for T' rows of logits of which this rank holds columns [r V', (r + 1) V') of
// the padded vocabulary (r: its coordinate on tp). Columns from `vocabulary` on are padding: skipped, and
// their gradient is zero.

// kSoftmaxStatistics: (logits [T', V'], targets i32 [T']) -> statistics [T', 3], wide: the maximum, the sum
// of exp(logit - maximum), and the target's logit or 0 where the target is not in this rank's columns. A rank
// with padding alone gives (-inf, 0, 0). Attribute: vocabulary
Tensor SoftmaxStatistics(Tensor logits, Tensor targets, int64_t vocabulary);

// kCrossEntropyLoss: (statistics of all R tp ranks [R T', 3], rank by rank, targets) -> loss [T'] or
// [T', kNumLossTerms] wide. Attribute: z_loss where loss is a matrix
Tensor CrossEntropyLoss(Tensor all_statistics, Tensor targets, double z_loss = 0);

// kCrossEntropyGrad: (logits, all_statistics, targets) -> dlogits [T', V'] = softmax (1 + 2 z_loss log Z) -
// onehot(target), Z being the row's sum of exp(logit), and loss [T'] or [T', kNumLossTerms]. May overwrite
// logits with dlogits. Attributes: vocabulary, and z_loss where loss is a matrix
std::vector<Tensor> CrossEntropyGrad(Tensor logits, Tensor all_statistics, Tensor targets, int64_t vocabulary,
                                     double z_loss = 0);

// kLossSum: (loss [T] or [T, C]) -> f64 [1] or [C], each column added in double in the order of t.
Tensor LossSum(Tensor loss);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_CROSS_ENTROPY_H_
