#include "runtime/cpu/linear.h"

#include <algorithm>

#include "runtime/cpu/gemm.h"

namespace trireme {

void LinearFast(const KernelArguments& a) {
  GemmSpec spec = LinearSpec(a.inputs, a.outputs, a.num_threads);
  Gemm(spec, a.inputs[0].data, a.inputs[1].data, spec.bias ? a.inputs[2].data : nullptr, a.outputs[0].data,
       a.workspace);
}

void LinearInputGradFast(const KernelArguments& a) {
  Gemm(LinearInputGradSpec(a.inputs, a.outputs, a.num_threads), a.inputs[0].data, a.inputs[1].data, nullptr,
       a.outputs[0].data, a.workspace);
}

void LinearWeightGradFast(const KernelArguments& a) {
  Gemm(LinearWeightGradSpec(a.inputs, a.accumulate, a.num_threads), a.inputs[0].data, a.inputs[1].data,
       nullptr, a.outputs[0].data, a.workspace);
}

int64_t LinearFastWorkspaceBytes(const Op&, absl::Span<const View> inputs, absl::Span<const View> outputs,
                                 int num_threads) {
  return GemmWorkspaceBytes(LinearSpec(inputs, outputs, num_threads));
}

int64_t LinearInputGradFastWorkspaceBytes(const Op&, absl::Span<const View> inputs,
                                          absl::Span<const View> outputs, int num_threads) {
  return GemmWorkspaceBytes(LinearInputGradSpec(inputs, outputs, num_threads));
}

int64_t LinearWeightGradFastWorkspaceBytes(const Op&, absl::Span<const View> inputs, absl::Span<const View>,
                                           int num_threads) {
  return std::max(GemmWorkspaceBytes(LinearWeightGradSpec(inputs, false, num_threads)),
                  GemmWorkspaceBytes(LinearWeightGradSpec(inputs, true, num_threads)));
}

}  // namespace trireme
