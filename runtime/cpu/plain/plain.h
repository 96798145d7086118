// The plain kernels. What each one computes stands in its family's header under runtime/ops/.
#ifndef TRIREME_RUNTIME_CPU_PLAIN_PLAIN_H_
#define TRIREME_RUNTIME_CPU_PLAIN_PLAIN_H_

#include "runtime/kernel.h"

namespace trireme {

void LinearPlain(const KernelArguments& a);
void LinearInputGradPlain(const KernelArguments& a);
void LinearWeightGradPlain(const KernelArguments& a);
void ColumnSumPlain(const KernelArguments& a);

void AddPlain(const KernelArguments& a);
void CastPlain(const KernelArguments& a);
void AccumulatePlain(const KernelArguments& a);
void GatherRowsPlain(const KernelArguments& a);
void KeepOnFirstPlain(const KernelArguments& a);

void GeluPlain(const KernelArguments& a);
void GeluGradPlain(const KernelArguments& a);
void SwiGluPlain(const KernelArguments& a);
void SwiGluGradPlain(const KernelArguments& a);

void DropoutPlain(const KernelArguments& a);

void RmsNormPlain(const KernelArguments& a);
void RmsNormGradPlain(const KernelArguments& a);
void AddRmsNormPlain(const KernelArguments& a);
void LayerNormPlain(const KernelArguments& a);
void LayerNormGradPlain(const KernelArguments& a);
void AddLayerNormPlain(const KernelArguments& a);

void RopePlain(const KernelArguments& a);

void AttentionPlain(const KernelArguments& a);
void AttentionGradPlain(const KernelArguments& a);
int64_t AttentionPlainWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                     absl::Span<const View> outputs, int num_threads);
int64_t AttentionGradPlainWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                         absl::Span<const View> outputs, int num_threads);

void BlockAttentionPlain(const KernelArguments& a);
void BlockAttentionGradPlain(const KernelArguments& a);
int64_t BlockAttentionPlainWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                          absl::Span<const View> outputs, int num_threads);
int64_t BlockAttentionGradPlainWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                              absl::Span<const View> outputs, int num_threads);
void MergeAttentionPlain(const KernelArguments& a);
void TakeColumnsPlain(const KernelArguments& a);
void JoinColumnsPlain(const KernelArguments& a);

void SplitHeadsPlain(const KernelArguments& a);
void JoinHeadsPlain(const KernelArguments& a);
void SharedRowsPlain(const KernelArguments& a);
void SharedRowsGradPlain(const KernelArguments& a);
void ConcatColumnsPlain(const KernelArguments& a);
void SplitColumnsPlain(const KernelArguments& a);

void EmbeddingPlain(const KernelArguments& a);
void EmbeddingGradPlain(const KernelArguments& a);

void SoftmaxStatisticsPlain(const KernelArguments& a);
void CrossEntropyLossPlain(const KernelArguments& a);
void CrossEntropyGradPlain(const KernelArguments& a);
void LossSumPlain(const KernelArguments& a);

void RouterPlain(const KernelArguments& a);
void RouterGradPlain(const KernelArguments& a);
void CountChoicesPlain(const KernelArguments& a);
// The loss, and the gradient where there is a second output.
void RouterLossPlain(const KernelArguments& a);
void DropOverflowPlain(const KernelArguments& a);
int64_t DropOverflowPlainWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int num_threads);
void CountDroppedPlain(const KernelArguments& a);
void GroupByExpertPlain(const KernelArguments& a);
void ReceivedOffsetsPlain(const KernelArguments& a);
void PermuteRowsPlain(const KernelArguments& a);
void PermuteRowsGradPlain(const KernelArguments& a);
void CombineRowsPlain(const KernelArguments& a);
void CombineRowsGradPlain(const KernelArguments& a);
void GroupedLinearPlain(const KernelArguments& a);
void GroupedLinearInputGradPlain(const KernelArguments& a);
void GroupedLinearWeightGradPlain(const KernelArguments& a);

void SquaredNormPlain(const KernelArguments& a);
void StepFactorsPlain(const KernelArguments& a);
void AdamWPlain(const KernelArguments& a);

void AddToGridPlain(const KernelArguments& a);
void GridSquaredNormPlain(const KernelArguments& a);
void GridSumPlain(const KernelArguments& a);
void GridNormPlain(const KernelArguments& a);
void FromGridPlain(const KernelArguments& a);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_PLAIN_PLAIN_H_
