#include "runtime/cpu/kernels.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>

#include "runtime/cpu/attention.h"
#include "runtime/cpu/fast.h"
#include "runtime/cpu/fused_products.h"
#include "runtime/cpu/linear.h"
#include "runtime/cpu/plain/plain.h"
#include "runtime/op_table.h"

namespace trireme {
namespace {

class KernelTable {
 public:
  KernelEntry& operator[](OpKind kind) { return entries_[static_cast<int>(kind)]; }
  const KernelEntry& Find(OpKind kind) const {
    const KernelEntry& entry = entries_[static_cast<int>(kind)];
    CHECK(entry.run != nullptr) << Name(kind)
                                << " has no kernel: it moves data between ranks, is an alias, or should "
                                << "have been expanded before execution";
    return entry;
  }

 private:
  std::array<KernelEntry, kNumOpKinds> entries_ = {};
};

KernelTable MakePlainTable() {
  KernelTable table;
  table[OpKind::kLinear] = {LinearPlain};
  table[OpKind::kLinearInputGrad] = {LinearInputGradPlain};
  table[OpKind::kLinearWeightGrad] = {LinearWeightGradPlain};
  table[OpKind::kColumnSum] = {ColumnSumPlain};
  table[OpKind::kLinearGelu] = {LinearThenGelu<LinearPlain, GeluPlain>};
  table[OpKind::kLinearInputGeluGrad] = {LinearInputGradThenGeluGrad<LinearInputGradPlain, GeluGradPlain>};
  table[OpKind::kLinearWeightBiasGrad] = {
      LinearWeightGradThenColumnSum<LinearWeightGradPlain, ColumnSumPlain>};
  table[OpKind::kAdd] = {AddPlain};
  table[OpKind::kCast] = {CastPlain};
  table[OpKind::kAccumulate] = {AccumulatePlain};
  table[OpKind::kGelu] = {GeluPlain};
  table[OpKind::kGeluGrad] = {GeluGradPlain};
  table[OpKind::kSwiGlu] = {SwiGluPlain};
  table[OpKind::kSwiGluGrad] = {SwiGluGradPlain};
  table[OpKind::kDropout] = {DropoutPlain};
  table[OpKind::kRmsNorm] = {RmsNormPlain};
  table[OpKind::kRmsNormGrad] = {RmsNormGradPlain};
  table[OpKind::kAddRmsNorm] = {AddRmsNormPlain};
  table[OpKind::kAddRmsNormGrad] = {RmsNormGradPlain};
  table[OpKind::kLayerNorm] = {LayerNormPlain};
  table[OpKind::kLayerNormGrad] = {LayerNormGradPlain};
  table[OpKind::kAddLayerNorm] = {AddLayerNormPlain};
  table[OpKind::kAddLayerNormGrad] = {LayerNormGradPlain};
  table[OpKind::kRope] = {RopePlain};
  table[OpKind::kAttention] = {AttentionPlain, AttentionPlainWorkspaceBytes};
  table[OpKind::kAttentionGrad] = {AttentionGradPlain, AttentionGradPlainWorkspaceBytes};
  table[OpKind::kBlockAttention] = {BlockAttentionPlain, BlockAttentionPlainWorkspaceBytes};
  table[OpKind::kBlockAttentionGrad] = {BlockAttentionGradPlain, BlockAttentionGradPlainWorkspaceBytes};
  table[OpKind::kMergeAttention] = {MergeAttentionPlain};
  table[OpKind::kTakeColumns] = {TakeColumnsPlain};
  table[OpKind::kJoinColumns] = {JoinColumnsPlain};
  table[OpKind::kSplitHeads] = {SplitHeadsPlain};
  table[OpKind::kJoinHeads] = {JoinHeadsPlain};
  table[OpKind::kSharedRows] = {SharedRowsPlain};
  table[OpKind::kSharedRowsGrad] = {SharedRowsGradPlain};
  table[OpKind::kConcatColumns] = {ConcatColumnsPlain};
  table[OpKind::kSplitColumns] = {SplitColumnsPlain};
  table[OpKind::kEmbedding] = {EmbeddingPlain};
  table[OpKind::kEmbeddingGrad] = {EmbeddingGradPlain};
  table[OpKind::kSoftmaxStatistics] = {SoftmaxStatisticsPlain};
  table[OpKind::kCrossEntropyLoss] = {CrossEntropyLossPlain};
  table[OpKind::kCrossEntropyGrad] = {CrossEntropyGradPlain};
  table[OpKind::kLossSum] = {LossSumPlain};
  table[OpKind::kGatherRows] = {GatherRowsPlain};
  table[OpKind::kRouter] = {RouterPlain};
  table[OpKind::kRouterGrad] = {RouterGradPlain};
  table[OpKind::kCountChoices] = {CountChoicesPlain};
  table[OpKind::kRouterLoss] = {RouterLossPlain};
  table[OpKind::kRouterLossGrad] = {RouterLossPlain};
  table[OpKind::kDropOverflow] = {DropOverflowPlain, DropOverflowPlainWorkspaceBytes};
  table[OpKind::kCountDropped] = {CountDroppedPlain};
  table[OpKind::kGroupByExpert] = {GroupByExpertPlain};
  table[OpKind::kReceivedOffsets] = {ReceivedOffsetsPlain};
  table[OpKind::kPermuteRows] = {PermuteRowsPlain};
  table[OpKind::kPermuteRowsGrad] = {PermuteRowsGradPlain};
  table[OpKind::kCombineRows] = {CombineRowsPlain};
  table[OpKind::kCombineRowsGrad] = {CombineRowsGradPlain};
  table[OpKind::kGroupedLinear] = {GroupedLinearPlain};
  table[OpKind::kGroupedLinearInputGrad] = {GroupedLinearInputGradPlain};
  table[OpKind::kGroupedLinearWeightGrad] = {GroupedLinearWeightGradPlain};
  table[OpKind::kKeepOnFirst] = {KeepOnFirstPlain};
  table[OpKind::kSquaredNorm] = {SquaredNormPlain};
  table[OpKind::kStepFactors] = {StepFactorsPlain};
  table[OpKind::kAdamW] = {AdamWPlain};
  table[OpKind::kAddToGrid] = {AddToGridPlain};
  table[OpKind::kGridSquaredNorm] = {GridSquaredNormPlain};
  table[OpKind::kGridSum] = {GridSumPlain};
  table[OpKind::kGridNorm] = {GridNormPlain};
  table[OpKind::kFromGrid] = {FromGridPlain};
  return table;
}

// Runs the plain kernel where the op computes in double, which its first operand tells, else the fast one.
template <Kernel kFast, Kernel kPlain>
void ByDType(const KernelArguments& a) {
  (a.inputs[0].dtype == DType::kF64 ? kPlain : kFast)(a);
}

int64_t NoWorkspace(const Op&, absl::Span<const View>, absl::Span<const View>, int) {
  return 0;
}

template <WorkspaceBytes kFast, WorkspaceBytes kPlain>
int64_t WorkspaceByDType(const Op& op, absl::Span<const View> inputs, absl::Span<const View> outputs,
                         int num_threads) {
  return (inputs[0].dtype == DType::kF64 ? kPlain : kFast)(op, inputs, outputs, num_threads);
}

template <Kernel kFast, Kernel kPlain>
KernelEntry Either() {
  return {ByDType<kFast, kPlain>};
}

template <Kernel kFast, Kernel kPlain, WorkspaceBytes kFastBytes, WorkspaceBytes kPlainBytes = NoWorkspace>
KernelEntry Either() {
  return {ByDType<kFast, kPlain>, WorkspaceByDType<kFastBytes, kPlainBytes>};
}

int64_t LinearWeightBiasGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                               absl::Span<const View> outputs, int num_threads) {
  return std::max(LinearWeightGradFastWorkspaceBytes(op, inputs, outputs, num_threads),
                  ColumnSumFastWorkspaceBytes(op, inputs, outputs, num_threads));
}

// Starts from the plain table: kinds that cost nothing beside the others have no other kernel.
KernelTable MakeFastTable() {
  KernelTable table = MakePlainTable();
  table[OpKind::kLinear] = Either<LinearFast, LinearPlain, LinearFastWorkspaceBytes>();
  table[OpKind::kLinearInputGrad] =
      Either<LinearInputGradFast, LinearInputGradPlain, LinearInputGradFastWorkspaceBytes>();
  table[OpKind::kLinearWeightGrad] =
      Either<LinearWeightGradFast, LinearWeightGradPlain, LinearWeightGradFastWorkspaceBytes>();
  table[OpKind::kColumnSum] = Either<ColumnSumFast, ColumnSumPlain, ColumnSumFastWorkspaceBytes>();
  table[OpKind::kLinearGelu] = Either<LinearThenGelu<LinearFast, GeluFast>,
                                      LinearThenGelu<LinearPlain, GeluPlain>, LinearFastWorkspaceBytes>();
  table[OpKind::kLinearInputGeluGrad] =
      Either<LinearInputGradThenGeluGrad<LinearInputGradFast, GeluGradFast>,
             LinearInputGradThenGeluGrad<LinearInputGradPlain, GeluGradPlain>,
             LinearInputGradFastWorkspaceBytes>();
  table[OpKind::kLinearWeightBiasGrad] =
      Either<LinearWeightGradThenColumnSum<LinearWeightGradFast, ColumnSumFast>,
             LinearWeightGradThenColumnSum<LinearWeightGradPlain, ColumnSumPlain>,
             LinearWeightBiasGradFastWorkspaceBytes>();
  table[OpKind::kAdd] = Either<AddFast, AddPlain>();
  table[OpKind::kCast] = Either<CastFast, CastPlain>();
  table[OpKind::kAccumulate] = Either<AccumulateFast, AccumulatePlain>();
  table[OpKind::kGelu] = Either<GeluFast, GeluPlain>();
  table[OpKind::kGeluGrad] = Either<GeluGradFast, GeluGradPlain>();
  table[OpKind::kSwiGlu] = Either<SwiGluFast, SwiGluPlain>();
  table[OpKind::kSwiGluGrad] = Either<SwiGluGradFast, SwiGluGradPlain>();
  table[OpKind::kDropout] = Either<DropoutFast, DropoutPlain>();
  table[OpKind::kRmsNorm] = Either<RmsNormFast, RmsNormPlain>();
  table[OpKind::kRmsNormGrad] = Either<RmsNormGradFast, RmsNormGradPlain, RmsNormGradFastWorkspaceBytes>();
  table[OpKind::kAddRmsNorm] = Either<AddRmsNormFast, AddRmsNormPlain>();
  table[OpKind::kAddRmsNormGrad] = table[OpKind::kRmsNormGrad];
  table[OpKind::kLayerNorm] = Either<LayerNormFast, LayerNormPlain>();
  table[OpKind::kLayerNormGrad] =
      Either<LayerNormGradFast, LayerNormGradPlain, LayerNormGradFastWorkspaceBytes>();
  table[OpKind::kAddLayerNorm] = Either<AddLayerNormFast, AddLayerNormPlain>();
  table[OpKind::kAddLayerNormGrad] = table[OpKind::kLayerNormGrad];
  table[OpKind::kRope] = Either<RopeFast, RopePlain, RopeFastWorkspaceBytes>();
  table[OpKind::kAttention] =
      Either<AttentionFast, AttentionPlain, AttentionFastWorkspaceBytes, AttentionPlainWorkspaceBytes>();
  table[OpKind::kAttentionGrad] = Either<AttentionGradFast, AttentionGradPlain,
                                         AttentionGradFastWorkspaceBytes, AttentionGradPlainWorkspaceBytes>();
  table[OpKind::kBlockAttention] =
      Either<BlockAttentionFast, BlockAttentionPlain, BlockAttentionFastWorkspaceBytes,
             BlockAttentionPlainWorkspaceBytes>();
  table[OpKind::kBlockAttentionGrad] =
      Either<BlockAttentionGradFast, BlockAttentionGradPlain, BlockAttentionGradFastWorkspaceBytes,
             BlockAttentionGradPlainWorkspaceBytes>();
  table[OpKind::kEmbeddingGrad] = Either<EmbeddingGradFast, EmbeddingGradPlain>();
  table[OpKind::kSoftmaxStatistics] = Either<SoftmaxStatisticsFast, SoftmaxStatisticsPlain>();
  table[OpKind::kCrossEntropyGrad] = Either<CrossEntropyGradFast, CrossEntropyGradPlain>();
  table[OpKind::kGroupedLinear] =
      Either<GroupedLinearFast, GroupedLinearPlain, GroupedLinearFastWorkspaceBytes>();
  table[OpKind::kGroupedLinearInputGrad] = Either<GroupedLinearInputGradFast, GroupedLinearInputGradPlain,
                                                  GroupedLinearInputGradFastWorkspaceBytes>();
  table[OpKind::kGroupedLinearWeightGrad] = Either<GroupedLinearWeightGradFast, GroupedLinearWeightGradPlain,
                                                   GroupedLinearWeightGradFastWorkspaceBytes>();
  table[OpKind::kSquaredNorm] = Either<SquaredNormFast, SquaredNormPlain, SquaredNormFastWorkspaceBytes>();
  table[OpKind::kAdamW] = Either<AdamWFast, AdamWPlain>();
  table[OpKind::kAddToGrid] = {AddToGridFast};
  table[OpKind::kGridSquaredNorm] = {GridSquaredNormFast, GridSquaredNormFastWorkspaceBytes};
  table[OpKind::kFromGrid] = {FromGridFast};
  return table;
}

}  // namespace

const KernelEntry& PlainKernel(OpKind kind) {
  static const KernelTable& table = *new KernelTable(MakePlainTable());
  return table.Find(kind);
}

const KernelEntry& FastKernel(OpKind kind) {
  static const KernelTable& table = *new KernelTable(MakeFastTable());
  return table.Find(kind);
}

}  // namespace trireme
