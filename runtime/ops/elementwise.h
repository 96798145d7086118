// Element by element: sums and conversions.
#ifndef TRIREME_RUNTIME_OPS_ELEMENTWISE_H_
#define TRIREME_RUNTIME_OPS_ELEMENTWISE_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// c = a + b, same dtype, shape and layout. May overwrite a.
// kAdd: (a, b) -> c
Tensor Add(Tensor a, Tensor b);
inline Tensor operator+(Tensor a, Tensor b) {
  return Add(a, b);
}
void AddGradient(GradientContext& g);

// kCast: (x) -> y with y's dtype (any two floating dtypes); rounds to nearest even. Has no gradient: it makes
// compute copies of parameters.

// kAccumulate: (x [..] wide, or i64) -> y, a parameter gradient of the same shape: y = x, or y += x.
// Differentiation records it where the op that makes a parameter's gradient cannot add in place; i64 are
// gradients on a grid.
Tensor Accumulate(Tensor x);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_ELEMENTWISE_H_
