// The products of ops/linear.h on oneDNN, for f32 and bf16 compute dtypes. (f64 has only the plain path.)
#ifndef TRIREME_RUNTIME_CPU_LINEAR_H_
#define TRIREME_RUNTIME_CPU_LINEAR_H_

#include <cstdint>

#include "runtime/kernel.h"

namespace trireme {

void LinearFast(const KernelArguments& arguments);
void LinearInputGradFast(const KernelArguments& arguments);
void LinearWeightGradFast(const KernelArguments& arguments);

int64_t LinearFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View> outputs,
                                 int num_threads);
int64_t LinearInputGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                          absl::Span<const View> outputs, int num_threads);
int64_t LinearWeightGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                           absl::Span<const View> outputs, int num_threads);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_LINEAR_H_
