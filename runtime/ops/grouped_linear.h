// Products of rows with the matrix of the expert that each belongs to. FLOPs: 2 * rows * N * K each.
#ifndef TRIREME_RUNTIME_OPS_GROUPED_LINEAR_H_
#define TRIREME_RUNTIME_OPS_GROUPED_LINEAR_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// y[p] = x[p] w_e^T for rows p in [offsets[e], offsets[e + 1]).
//   x        [R, K]        sorted by expert (GroupByExpert); rows from offsets[E] on do not exist
//   w        [E N, K]      the experts' matrices [N, K] one below the other
//   offsets  i32 [E + 1]   an expert without rows costs nothing; its weights' gradient is zero
// Column-parallel and row-parallel as Linear (ops/linear.h), each expert's matrix by itself. Under ep x and w
// are Shard(0) there: this rank's experts and their rows.
// kGroupedLinear: (x, w, offsets) -> y [R, N]
// kGroupedLinearInputGrad: (dy [R, N], w, offsets) -> dx [R, K] = dy w_e
// kGroupedLinearWeightGrad: (dy, x, offsets) -> dw [E N, K] wide, of each expert dy^T x over its rows. May
// accumulate.
Tensor GroupedLinear(Tensor x, Tensor w, Tensor offsets);
void GroupedLinearGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_GROUPED_LINEAR_H_
