// The kinds of ops. What each one means stands in its family's header under runtime/ops/.
#ifndef TRIREME_RUNTIME_OP_KIND_H_
#define TRIREME_RUNTIME_OP_KIND_H_

#include <cstdint>

namespace trireme {

enum class OpKind : uint8_t {
  // ops/linear.h
  kLinear,
  kLinearInputGrad,
  kLinearWeightGrad,
  kColumnSum,
  kLinearGelu,
  kLinearInputGeluGrad,
  kLinearWeightBiasGrad,
  // ops/elementwise.h
  kAdd,
  kCast,
  kAccumulate,
  // ops/activation.h
  kGelu,
  kGeluGrad,
  kSwiGlu,
  kSwiGluGrad,
  // ops/dropout.h
  kDropout,
  // ops/rms_norm.h
  kRmsNorm,
  kRmsNormGrad,
  kAddRmsNorm,
  kAddRmsNormGrad,
  // ops/layer_norm.h
  kLayerNorm,
  kLayerNormGrad,
  kAddLayerNorm,
  kAddLayerNormGrad,
  // ops/rope.h
  kRope,
  // ops/attention.h
  kAttention,
  kAttentionGrad,
  // ops/head_exchange.h
  kSplitHeads,
  kJoinHeads,
  kAllToAll,
  // ops/ring_attention.h
  kRingAttention,
  kRingAttentionGrad,
  kTakeColumns,
  kJoinColumns,
  kShift,
  kAwaitShift,
  kBlockAttention,
  kMergeAttention,
  kBlockAttentionGrad,
  // ops/shared_heads.h
  kSharedRows,
  kSharedRowsGrad,
  kConcatColumns,
  kSplitColumns,
  // ops/embedding.h
  kEmbedding,
  kEmbeddingGrad,
  // ops/cross_entropy.h
  kLinearCrossEntropy,
  kLinearCrossEntropyGrad,
  kSoftmaxStatistics,
  kCrossEntropyLoss,
  kCrossEntropyGrad,
  kLossSum,
  // ops/gather_rows.h
  kGatherRows,
  // ops/routing.h
  kRouter,
  kRouterGrad,
  kCountChoices,
  kRouterLoss,
  kRouterLossGrad,
  kDropOverflow,
  kCountDropped,
  kGroupByExpert,
  kPermuteRows,
  kPermuteRowsGrad,
  kCombineRows,
  kCombineRowsGrad,
  // ops/expert_exchange.h
  kExchangeOffsets,
  kReceivedOffsets,
  kDispatchRows,
  kReturnRows,
  // ops/grouped_linear.h
  kGroupedLinear,
  kGroupedLinearInputGrad,
  kGroupedLinearWeightGrad,
  // ops/redistribute.h
  kRelabel,
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kKeepOnFirst,
  // ops/optimizer.h
  kSquaredNorm,
  kStepFactors,
  kAdamW,
  // ops/gradient_grid.h
  kAddToGrid,
  kGridSquaredNorm,
  kGridSum,
  kGridNorm,
  kFromGrid,
  kCount,
};

inline constexpr int kNumOpKinds = static_cast<int>(OpKind::kCount);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OP_KIND_H_
