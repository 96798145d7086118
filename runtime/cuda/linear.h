// Dense products of ops/linear.h on a GPU.
#ifndef TRIREME_RUNTIME_CUDA_LINEAR_H_
#define TRIREME_RUNTIME_CUDA_LINEAR_H_

#include "runtime/kernel.h"

namespace trireme {

void LinearCuda(const KernelArguments& a);
void LinearInputGradCuda(const KernelArguments& a);
void LinearWeightGradCuda(const KernelArguments& a);

// The library's workspace, and behind it a bias in the output's dtype where it is kept in another.
int64_t LinearCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View> outputs,
                                 int num_threads);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_LINEAR_H_
