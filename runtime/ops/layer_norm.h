#ifndef TRIREME_RUNTIME_OPS_LAYER_NORM_H_
#define TRIREME_RUNTIME_OPS_LAYER_NORM_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// Layer normalisation: y = (x - mean) * r * gain + bias, r = 1 / sqrt(variance + eps), over D (variance: /D).
// Source: arXiv:1607.06450. Statistics are wide whatever the dtype.
//   x           [T, D]  D not sharded
//   gain, bias  [D]     wide; Replicate on the axes that shard T, Invariant on the others
// Returns [T, D] with x's dtype and layout; saves mean and r, two wide numbers a row.
// kLayerNorm: (x, gain, bias) -> y, statistics [T, 2] (mean, r).  Attribute: eps
// kLayerNormGrad: (dy, x, gain, statistics) -> dx [T, D], dgain [D], dbias [D] wide; may overwrite dy with
// dx; dgain and dbias may accumulate
// What passes/fuse.h makes of it and the residual addition beside it, all of x's dtype and layout:
// kAddLayerNorm: (a [T, D], b [T, D], gain, bias) -> sum = a + b, y and statistics of the sum as stored; may
// overwrite a
// kAddLayerNormGrad: (dy, x, gain, statistics, dsum [T, D]) -> dx + dsum, dgain, dbias; may overwrite dsum;
// dgain and dbias may accumulate
Tensor LayerNorm(Tensor x, Tensor gain, Tensor bias, double eps);
void LayerNormGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_LAYER_NORM_H_
