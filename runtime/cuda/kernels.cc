#include "runtime/cuda/kernels.h"

#include <glog/logging.h>

#include <array>

#include "runtime/cuda/launchers.h"
#include "runtime/op_table.h"

namespace trireme {
namespace {

using KernelTable = std::array<KernelEntry, kNumOpKinds>;

KernelTable MakeTable() {
  KernelTable table = {};
  const auto at = [&table](OpKind kind) -> KernelEntry& { return table[static_cast<int>(kind)]; };
  at(OpKind::kLinear) = {LinearCuda, LinearCudaWorkspaceBytes};
  at(OpKind::kLinearInputGrad) = {LinearInputGradCuda, LinearCudaWorkspaceBytes};
  at(OpKind::kLinearWeightGrad) = {LinearWeightGradCuda, LinearCudaWorkspaceBytes};
  at(OpKind::kColumnSum) = {ColumnSumCuda, ColumnSumCudaWorkspaceBytes};
  at(OpKind::kLinearGelu) = {LinearGeluCuda, LinearCudaWorkspaceBytes};
  at(OpKind::kLinearInputGeluGrad) = {LinearInputGeluGradCuda, LinearInputGeluGradCudaWorkspaceBytes};
  at(OpKind::kLinearWeightBiasGrad) = {LinearWeightBiasGradCuda, LinearWeightBiasGradCudaWorkspaceBytes};
  at(OpKind::kAdd) = {AddCuda};
  at(OpKind::kCast) = {CastCuda};
  at(OpKind::kAccumulate) = {AccumulateCuda};
  at(OpKind::kGelu) = {GeluCuda};
  at(OpKind::kGeluGrad) = {GeluGradCuda};
  at(OpKind::kSwiGlu) = {SwiGluCuda};
  at(OpKind::kSwiGluGrad) = {SwiGluGradCuda};
  at(OpKind::kDropout) = {DropoutCuda};
  at(OpKind::kRmsNorm) = {RmsNormCuda};
  at(OpKind::kRmsNormGrad) = {RmsNormGradCuda, RmsNormGradCudaWorkspaceBytes};
  at(OpKind::kAddRmsNorm) = {AddRmsNormCuda};
  at(OpKind::kAddRmsNormGrad) = at(OpKind::kRmsNormGrad);
  at(OpKind::kLayerNorm) = {LayerNormCuda};
  at(OpKind::kLayerNormGrad) = {LayerNormGradCuda, LayerNormGradCudaWorkspaceBytes};
  at(OpKind::kAddLayerNorm) = {AddLayerNormCuda};
  at(OpKind::kAddLayerNormGrad) = at(OpKind::kLayerNormGrad);
  at(OpKind::kRope) = {RopeCuda};
  at(OpKind::kAttention) = {AttentionCuda, AttentionCudaWorkspaceBytes};
  at(OpKind::kAttentionGrad) = {AttentionGradCuda, AttentionGradCudaWorkspaceBytes};
  at(OpKind::kBlockAttention) = {BlockAttentionCuda};
  at(OpKind::kBlockAttentionGrad) = {BlockAttentionGradCuda, AttentionGradCudaWorkspaceBytes};
  at(OpKind::kMergeAttention) = {MergeAttentionCuda};
  at(OpKind::kTakeColumns) = {TakeColumnsCuda};
  at(OpKind::kJoinColumns) = {JoinColumnsCuda};
  at(OpKind::kSplitHeads) = {SplitHeadsCuda};
  at(OpKind::kJoinHeads) = {JoinHeadsCuda};
  at(OpKind::kSharedRows) = {SharedRowsCuda};
  at(OpKind::kSharedRowsGrad) = {SharedRowsGradCuda};
  at(OpKind::kConcatColumns) = {ConcatColumnsCuda};
  at(OpKind::kSplitColumns) = {SplitColumnsCuda};
  at(OpKind::kEmbedding) = {EmbeddingCuda};
  at(OpKind::kEmbeddingGrad) = {EmbeddingGradCuda, EmbeddingGradCudaWorkspaceBytes};
  at(OpKind::kSoftmaxStatistics) = {SoftmaxStatisticsCuda};
  at(OpKind::kCrossEntropyLoss) = {CrossEntropyLossCuda};
  at(OpKind::kCrossEntropyGrad) = {CrossEntropyGradCuda};
  at(OpKind::kLossSum) = {LossSumCuda};
  at(OpKind::kGatherRows) = {GatherRowsCuda};
  at(OpKind::kRouter) = {RouterCuda};
  at(OpKind::kRouterGrad) = {RouterGradCuda};
  at(OpKind::kCountChoices) = {CountChoicesCuda};
  at(OpKind::kRouterLoss) = {RouterLossCuda};
  at(OpKind::kRouterLossGrad) = {RouterLossGradCuda};
  at(OpKind::kDropOverflow) = {DropOverflowCuda};
  at(OpKind::kCountDropped) = {CountDroppedCuda};
  at(OpKind::kGroupByExpert) = {GroupByExpertCuda, GroupByExpertCudaWorkspaceBytes};
  at(OpKind::kPermuteRows) = {PermuteRowsCuda};
  at(OpKind::kPermuteRowsGrad) = {PermuteRowsGradCuda};
  at(OpKind::kCombineRows) = {CombineRowsCuda};
  at(OpKind::kCombineRowsGrad) = {CombineRowsGradCuda};
  at(OpKind::kReceivedOffsets) = {ReceivedOffsetsCuda};
  at(OpKind::kGroupedLinear) = {GroupedLinearCuda};
  at(OpKind::kGroupedLinearInputGrad) = {GroupedLinearInputGradCuda};
  at(OpKind::kGroupedLinearWeightGrad) = {GroupedLinearWeightGradCuda};
  at(OpKind::kKeepOnFirst) = {KeepOnFirstCuda};
  at(OpKind::kSquaredNorm) = {SquaredNormCuda, SquaredNormCudaWorkspaceBytes};
  at(OpKind::kStepFactors) = {StepFactorsCuda};
  at(OpKind::kAdamW) = {AdamWCuda};
  at(OpKind::kAddToGrid) = {AddToGridCuda};
  at(OpKind::kGridSquaredNorm) = {GridSquaredNormCuda, GridSquaredNormCudaWorkspaceBytes};
  at(OpKind::kGridSum) = {GridSumCuda};
  at(OpKind::kGridNorm) = {GridNormCuda};
  at(OpKind::kFromGrid) = {FromGridCuda};
  return table;
}

}  // namespace

const KernelEntry& CudaKernel(OpKind kind) {
  static const KernelTable& table = *new KernelTable(MakeTable());
  const KernelEntry& entry = table[static_cast<int>(kind)];
  CHECK(entry.run != nullptr) << Name(kind)
                              << " has no kernel: it moves data between ranks, is an alias, or should "
                              << "have been expanded before execution";
  return entry;
}

}  // namespace trireme
