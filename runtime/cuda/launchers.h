// What the CUDA table (kernels.h) is made of: one launcher an op kind, and how much workspace it needs. A
// launcher enqueues its kernels on KernelArguments::stream and returns; num_threads means nothing to it. What
// each op computes stands in its family's header under runtime/ops/.
#ifndef TRIREME_RUNTIME_CUDA_LAUNCHERS_H_
#define TRIREME_RUNTIME_CUDA_LAUNCHERS_H_

#include "runtime/kernel.h"

namespace trireme {

// linear.cc
void LinearCuda(const KernelArguments& a);
void LinearInputGradCuda(const KernelArguments& a);
void LinearWeightGradCuda(const KernelArguments& a);
// Of all three, and of LinearGeluCuda.
int64_t LinearCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View> outputs,
                                 int num_threads);
// A linear op's bias in the output's dtype, null where it has none; in bf16 it is rounded into the workspace.
void* BiasForLibrary(const KernelArguments& a);

// fused_products.cc
void LinearGeluCuda(const KernelArguments& a);
void LinearInputGeluGradCuda(const KernelArguments& a);
int64_t LinearInputGeluGradCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                              absl::Span<const View> outputs, int num_threads);
void LinearWeightBiasGradCuda(const KernelArguments& a);
int64_t LinearWeightBiasGradCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                               absl::Span<const View> outputs, int num_threads);

// column_sums.cu
void ColumnSumCuda(const KernelArguments& a);
int64_t ColumnSumCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                    absl::Span<const View> outputs, int num_threads);

// elementwise.cu
void AddCuda(const KernelArguments& a);
void CastCuda(const KernelArguments& a);
void AccumulateCuda(const KernelArguments& a);
void KeepOnFirstCuda(const KernelArguments& a);

// gradient_grid.cu. AccumulateWholeCuda is AccumulateCuda's of whole numbers.
void AccumulateWholeCuda(const KernelArguments& a);
void AddToGridCuda(const KernelArguments& a);
void FromGridCuda(const KernelArguments& a);
void GridSquaredNormCuda(const KernelArguments& a);
int64_t GridSquaredNormCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                          absl::Span<const View> outputs, int num_threads);
void GridSumCuda(const KernelArguments& a);
void GridNormCuda(const KernelArguments& a);

// shared_heads.cu
void SharedRowsCuda(const KernelArguments& a);
void SharedRowsGradCuda(const KernelArguments& a);
void ConcatColumnsCuda(const KernelArguments& a);
void SplitColumnsCuda(const KernelArguments& a);

// activation.cu
void GeluCuda(const KernelArguments& a);
void GeluGradCuda(const KernelArguments& a);
void SwiGluCuda(const KernelArguments& a);
void SwiGluGradCuda(const KernelArguments& a);

// dropout.cu
void DropoutCuda(const KernelArguments& a);

// rms_norm.cu
void RmsNormCuda(const KernelArguments& a);
void AddRmsNormCuda(const KernelArguments& a);
// Of the norm alone, and with the addition of the stream's gradient.
void RmsNormGradCuda(const KernelArguments& a);
int64_t RmsNormGradCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                      absl::Span<const View> outputs, int num_threads);

// layer_norm.cu
void LayerNormCuda(const KernelArguments& a);
void AddLayerNormCuda(const KernelArguments& a);
// Of the norm alone, and with the addition of the stream's gradient.
void LayerNormGradCuda(const KernelArguments& a);
int64_t LayerNormGradCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int num_threads);

// rope.cu
void RopeCuda(const KernelArguments& a);

// attention_forward.cu, attention_backward.cu
void AttentionCuda(const KernelArguments& a);
int64_t AttentionCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                    absl::Span<const View> outputs, int num_threads);
void AttentionGradCuda(const KernelArguments& a);
int64_t AttentionGradCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int num_threads);

// attention_general.cu, attention.cu. The gradient's workspace is AttentionGradCuda's.
void BlockAttentionCuda(const KernelArguments& a);
void BlockAttentionGradCuda(const KernelArguments& a);

// ring_attention.cu
void MergeAttentionCuda(const KernelArguments& a);
void TakeColumnsCuda(const KernelArguments& a);
void JoinColumnsCuda(const KernelArguments& a);

// head_exchange.cu
void SplitHeadsCuda(const KernelArguments& a);
void JoinHeadsCuda(const KernelArguments& a);

// embedding.cu
void EmbeddingCuda(const KernelArguments& a);
void EmbeddingGradCuda(const KernelArguments& a);
int64_t EmbeddingGradCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int num_threads);

// cross_entropy.cu
void SoftmaxStatisticsCuda(const KernelArguments& a);
void CrossEntropyLossCuda(const KernelArguments& a);
void CrossEntropyGradCuda(const KernelArguments& a);
void LossSumCuda(const KernelArguments& a);

// gather_rows.cu
void GatherRowsCuda(const KernelArguments& a);

// routing.cu
void RouterCuda(const KernelArguments& a);
void RouterGradCuda(const KernelArguments& a);
void CountChoicesCuda(const KernelArguments& a);
void RouterLossCuda(const KernelArguments& a);
void RouterLossGradCuda(const KernelArguments& a);
void DropOverflowCuda(const KernelArguments& a);
void CountDroppedCuda(const KernelArguments& a);
void ReceivedOffsetsCuda(const KernelArguments& a);

// expert_rows.cu
void GroupByExpertCuda(const KernelArguments& a);
int64_t GroupByExpertCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int num_threads);
void PermuteRowsCuda(const KernelArguments& a);
void PermuteRowsGradCuda(const KernelArguments& a);
void CombineRowsCuda(const KernelArguments& a);
void CombineRowsGradCuda(const KernelArguments& a);

// grouped_linear.cu
void GroupedLinearCuda(const KernelArguments& a);
void GroupedLinearInputGradCuda(const KernelArguments& a);
void GroupedLinearWeightGradCuda(const KernelArguments& a);

// optimizer.cu
void SquaredNormCuda(const KernelArguments& a);
int64_t SquaredNormCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                      absl::Span<const View> outputs, int num_threads);
void StepFactorsCuda(const KernelArguments& a);
void AdamWCuda(const KernelArguments& a);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_LAUNCHERS_H_
