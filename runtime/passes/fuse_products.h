// A dense product and what follows it become one op, which a library of products may do in one kernel.
#ifndef TRIREME_RUNTIME_PASSES_FUSE_PRODUCTS_H_
#define TRIREME_RUNTIME_PASSES_FUSE_PRODUCTS_H_

#include "runtime/program.h"

namespace trireme {

// Puts one op (ops/linear.h) in the place of
//   Linear and the Gelu of its result: kLinearGelu, which makes the product too where others read it;
//   LinearInputGrad and the GeluGrad that alone reads its result: kLinearInputGeluGrad, in GeluGrad's place;
//   LinearWeightGrad and ColumnSum of the same gradient: kLinearWeightBiasGrad, where both are parameters'.
// Values, layouts and what is saved stay as they are: models and Differentiate know nothing of it. Run it
// after the recompute pass, so that a segment keeps what it kept, and before SplitBackward.
void FuseProductsPass(Program& program);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PASSES_FUSE_PRODUCTS_H_
