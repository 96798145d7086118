// Dense products. FLOPs: 2 * T * N * K each. Products accumulate in fp32 (f64 for f64) whatever the dtype.
//   x [T, K]   w [N, K]   bias [N]   y [T, N]
#ifndef TRIREME_RUNTIME_OPS_LINEAR_H_
#define TRIREME_RUNTIME_OPS_LINEAR_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// y = x w^T + bias. bias may be absent; it is wide, x and w have the compute dtype, and so has y.
// Column-parallel: x Replicate, w and bias Shard(0) -> y Shard(1). Row-parallel: x Shard(1), w Shard(1) -> y
// Partial, and bias must be Partial too (see KeepOnFirst in redistribute.h). kLinear: (x, w, bias or absent)
// -> y
Tensor Linear(Tensor x, Tensor w, Tensor bias = {});

// kLinearInputGrad: (dy [T, N], w [N, K]) -> dx [T, K] = dy w
Tensor LinearInputGrad(Tensor dy, Tensor w);

// kLinearWeightGrad: (dy [T, N], x [T, K]) -> dw [N, K] = dy^T x, wide. May accumulate.
Tensor LinearWeightGrad(Tensor dy, Tensor x);

// kColumnSum: (dy [T, N]) -> [N] = sum over T, wide. May accumulate. The gradient of a bias.
Tensor ColumnSum(Tensor dy);

// What passes/fuse_products.h puts in the place of a product and what follows it. GELU is ops/activation.h's.
// kLinearGelu: (x [T, K], w [N, K], bias or absent) -> y [T, N] = GELU(pre), and, unless nobody reads it,
// pre [T, N] = x w^T + bias
// kLinearInputGeluGrad: (dy [T, N], w [N, K], pre [T, K]) -> dpre [T, K] = dy w times GELU's slope at pre
// kLinearWeightBiasGrad: (dy [T, N], x [T, K]) -> dw [N, K], wide, and dbias [N] = sum of dy over T, wide.
// May accumulate.

void LinearGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_LINEAR_H_
