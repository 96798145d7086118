// What grouped queries need where several ranks of tp share a key and value head: the rows of the weights
// that a rank's queries read, and its products side by side as attention wants them.
#ifndef TRIREME_RUNTIME_OPS_SHARED_HEADS_H_
#define TRIREME_RUNTIME_OPS_SHARED_HEADS_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// This rank's share of matrices whose heads are fewer than tp's ranks. w stacks `parts` matrices of `heads`
// heads of R rows each, [parts heads R, D], Replicate on tp; heads divides tp. Rank c reads head c heads / tp
// of each part:
//   shared[p R + r] = w[(p heads + c heads / tp) R + r]
// So it is a shard of the matrices in which each head stands tp / heads times: Shard(0) on tp. A head's
// gradient is the sum of its readers'.
// kSharedRows: (w) -> shared [parts R, D]
// kSharedRowsGrad: (dshared wide) -> dw [parts heads R, D] wide, zero in other heads, Partial on tp. May
// accumulate. Attributes of both: parts, heads
Tensor SharedRows(Tensor w, int64_t parts, int64_t heads);
void SharedRowsGradient(GradientContext& g);

// y = a beside b: columns [0, N) are a's, [N, N + M) are b's, on each rank. Both have one layout.
// kConcatColumns: (a [T, N], b [T, M]) -> y [T, N + M];  kSplitColumns: (dy) -> da, db
Tensor ConcatColumns(Tensor a, Tensor b);
void ConcatColumnsGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_SHARED_HEADS_H_
