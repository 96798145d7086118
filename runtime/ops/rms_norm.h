#ifndef TRIREME_RUNTIME_OPS_RMS_NORM_H_
#define TRIREME_RUNTIME_OPS_RMS_NORM_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// Root-mean-square normalisation: y = x * r * gain, r = 1 / sqrt(mean(x^2, over D) + eps).
// Source: arXiv:1910.07467 eq. 4. Statistics are wide whatever the dtype.
//   x     [T, D]  D not sharded
//   gain  [D]     wide; Replicate on the axes that shard T, Invariant on the others
//   eps           added to the mean square, same unit as x^2
// Returns [T, D] with x's dtype and layout; saves r, one wide number a row.
// kRmsNorm: (x, gain) -> y, r [T].  Attribute: eps
// kRmsNormGrad: (dy [T, D], x, gain, r) -> dx [T, D], dgain [D] wide; may overwrite dy with dx; dgain may
// accumulate
// What passes/fuse.h makes of it and the residual addition beside it, all of x's dtype and layout:
// kAddRmsNorm: (a [T, D], b [T, D], gain) -> sum = a + b, y and r of the sum as stored; may overwrite a
// kAddRmsNormGrad: (dy, x, gain, r, dsum [T, D]) -> dx + dsum, dgain; may overwrite dsum; dgain may
// accumulate
Tensor RmsNorm(Tensor x, Tensor gain, double eps);
void RmsNormGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_RMS_NORM_H_
