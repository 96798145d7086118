// The fast kernels, for f32 and bf16. What each one computes stands in its family's header under
// runtime/ops/. A kind that is missing here costs nothing beside the others: there the plain kernel serves.
#ifndef TRIREME_RUNTIME_CPU_FAST_H_
#define TRIREME_RUNTIME_CPU_FAST_H_

#include "runtime/kernel.h"

namespace trireme {

void ColumnSumFast(const KernelArguments& a);
int64_t ColumnSumFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                    absl::Span<const View> outputs, int num_threads);

void AddFast(const KernelArguments& a);
void CastFast(const KernelArguments& a);
void AccumulateFast(const KernelArguments& a);

void GeluFast(const KernelArguments& a);
void GeluGradFast(const KernelArguments& a);
void SwiGluFast(const KernelArguments& a);
void SwiGluGradFast(const KernelArguments& a);

void DropoutFast(const KernelArguments& a);

void RmsNormFast(const KernelArguments& a);
void AddRmsNormFast(const KernelArguments& a);
// Of the norm alone, and with the addition of the stream's gradient.
void RmsNormGradFast(const KernelArguments& a);
int64_t RmsNormGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                      absl::Span<const View> outputs, int num_threads);
void LayerNormFast(const KernelArguments& a);
void AddLayerNormFast(const KernelArguments& a);
// Of the norm alone, and with the addition of the stream's gradient.
void LayerNormGradFast(const KernelArguments& a);
int64_t LayerNormGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int num_threads);

void RopeFast(const KernelArguments& a);
int64_t RopeFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View> outputs,
                               int num_threads);

void EmbeddingGradFast(const KernelArguments& a);

void SoftmaxStatisticsFast(const KernelArguments& a);
void CrossEntropyGradFast(const KernelArguments& a);

void GroupedLinearFast(const KernelArguments& a);
void GroupedLinearInputGradFast(const KernelArguments& a);
void GroupedLinearWeightGradFast(const KernelArguments& a);
int64_t GroupedLinearFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int num_threads);
int64_t GroupedLinearInputGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                                 absl::Span<const View> outputs, int num_threads);
int64_t GroupedLinearWeightGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                                  absl::Span<const View> outputs, int num_threads);

void SquaredNormFast(const KernelArguments& a);
int64_t SquaredNormFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                      absl::Span<const View> outputs, int num_threads);
void AdamWFast(const KernelArguments& a);

// These serve f64 too.
void AddToGridFast(const KernelArguments& a);
void FromGridFast(const KernelArguments& a);
void GridSquaredNormFast(const KernelArguments& a);
int64_t GridSquaredNormFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                          absl::Span<const View> outputs, int num_threads);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_FAST_H_
