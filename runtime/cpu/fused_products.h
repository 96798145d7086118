// The fused products of ops/linear.h as the kernels of their parts, one after the other: their definition of
// the plain ones, and no slower than anything else of the fast ones (README.md).
#ifndef TRIREME_RUNTIME_CPU_FUSED_PRODUCTS_H_
#define TRIREME_RUNTIME_CPU_FUSED_PRODUCTS_H_

#include "runtime/kernel.h"

namespace trireme {
namespace fused_products_internal {

inline void RunPart(Kernel kernel, const KernelArguments& whole, absl::Span<const View> inputs,
                    const View& output, bool accumulate) {
  KernelArguments part = whole;
  part.inputs = inputs;
  part.outputs = {&output, 1};
  part.accumulate = accumulate;
  part.passing = 0;
  kernel(part);
}

}  // namespace fused_products_internal

// kLinearGelu. GELU sees the product as it is stored.
template <Kernel kLinear, Kernel kGelu>
void LinearThenGelu(const KernelArguments& a) {
  const View& product = a.outputs.back();  // in the memory of the result where nobody keeps it
  fused_products_internal::RunPart(kLinear, a, a.inputs, product, false);
  fused_products_internal::RunPart(kGelu, a, {&product, 1}, a.outputs[0], false);
}

// kLinearInputGeluGrad, in the memory of the result.
template <Kernel kInputGrad, Kernel kGeluGrad>
void LinearInputGradThenGeluGrad(const KernelArguments& a) {
  const View& result = a.outputs[0];
  const View of_gelu[] = {result, a.inputs[2]};
  fused_products_internal::RunPart(kInputGrad, a, a.inputs.first(2), result, false);
  fused_products_internal::RunPart(kGeluGrad, a, of_gelu, result, false);
}

// kLinearWeightBiasGrad.
template <Kernel kWeightGrad, Kernel kColumnSum>
void LinearWeightGradThenColumnSum(const KernelArguments& a) {
  fused_products_internal::RunPart(kWeightGrad, a, a.inputs, a.outputs[0], a.accumulates(0));
  fused_products_internal::RunPart(kColumnSum, a, a.inputs.first(1), a.outputs[1], a.accumulates(1));
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_FUSED_PRODUCTS_H_
