#include "runtime/op_table.h"

#include <glog/logging.h>

#include <array>

#include "runtime/ops/activation.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/dropout.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/expert_exchange.h"
#include "runtime/ops/grouped_linear.h"
#include "runtime/ops/head_exchange.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/redistribute.h"
#include "runtime/ops/ring_attention.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/ops/rope.h"
#include "runtime/ops/routing.h"
#include "runtime/ops/shared_heads.h"

namespace trireme {
namespace {

using Table = std::array<OpDefinition, kNumOpKinds>;

Table MakeTable() {
  Table table = {};
  auto at = [&table](OpKind kind) -> OpDefinition& { return table[static_cast<int>(kind)]; };
  at(OpKind::kLinear) = {.name = "Linear", .gradient = LinearGradient};
  at(OpKind::kLinearInputGrad) = {.name = "LinearInputGrad"};
  at(OpKind::kLinearWeightGrad) = {.name = "LinearWeightGrad", .accumulates = 0b1};
  at(OpKind::kColumnSum) = {.name = "ColumnSum", .accumulates = 0b1};
  at(OpKind::kLinearGelu) = {.name = "LinearGelu"};
  at(OpKind::kLinearInputGeluGrad) = {.name = "LinearInputGeluGrad"};
  at(OpKind::kLinearWeightBiasGrad) = {.name = "LinearWeightBiasGrad", .accumulates = 0b11};
  at(OpKind::kAdd) = {.name = "Add", .gradient = AddGradient, .overwrites = 0};
  at(OpKind::kCast) = {.name = "Cast"};
  at(OpKind::kAccumulate) = {.name = "Accumulate", .accumulates = 0b1};
  at(OpKind::kGelu) = {.name = "Gelu", .gradient = GeluGradient, .cheap = true};
  at(OpKind::kGeluGrad) = {.name = "GeluGrad", .overwrites = 0};
  at(OpKind::kSwiGlu) = {.name = "SwiGlu", .gradient = SwiGluGradient, .cheap = true};
  at(OpKind::kSwiGluGrad) = {.name = "SwiGluGrad", .overwrites = 1};
  at(OpKind::kDropout) = {.name = "Dropout", .gradient = DropoutGradient, .cheap = true, .overwrites = 0};
  at(OpKind::kRmsNorm) = {.name = "RmsNorm", .gradient = RmsNormGradient, .cheap = true};
  at(OpKind::kRmsNormGrad) = {.name = "RmsNormGrad", .overwrites = 0, .accumulates = 0b10};
  at(OpKind::kAddRmsNorm) = {.name = "AddRmsNorm", .overwrites = 0};
  at(OpKind::kAddRmsNormGrad) = {.name = "AddRmsNormGrad", .overwrites = 4, .accumulates = 0b10};
  at(OpKind::kLayerNorm) = {.name = "LayerNorm", .gradient = LayerNormGradient, .cheap = true};
  at(OpKind::kLayerNormGrad) = {.name = "LayerNormGrad", .overwrites = 0, .accumulates = 0b110};
  at(OpKind::kAddLayerNorm) = {.name = "AddLayerNorm", .overwrites = 0};
  at(OpKind::kAddLayerNormGrad) = {.name = "AddLayerNormGrad", .overwrites = 4, .accumulates = 0b110};
  at(OpKind::kRope) = {.name = "Rope", .gradient = RopeGradient, .overwrites = 0};
  at(OpKind::kAttention) = {.name = "Attention", .gradient = AttentionGradient};
  at(OpKind::kAttentionGrad) = {.name = "AttentionGrad"};
  at(OpKind::kSplitHeads) = {.name = "SplitHeads", .gradient = SplitHeadsGradient};
  at(OpKind::kJoinHeads) = {.name = "JoinHeads", .gradient = JoinHeadsGradient};
  at(OpKind::kAllToAll) = {.name = "AllToAll", .gradient = AllToAllGradient, .communicates = true};
  at(OpKind::kRingAttention) = {
      .name = "RingAttention", .gradient = RingAttentionGradient, .composite = true};
  at(OpKind::kRingAttentionGrad) = {.name = "RingAttentionGrad", .composite = true};
  at(OpKind::kTakeColumns) = {.name = "TakeColumns"};
  at(OpKind::kJoinColumns) = {.name = "JoinColumns"};
  at(OpKind::kShift) = {.name = "Shift", .communicates = true};
  at(OpKind::kAwaitShift) = {.name = "AwaitShift", .communicates = true, .overwrites = 0};
  at(OpKind::kBlockAttention) = {.name = "BlockAttention"};
  at(OpKind::kMergeAttention) = {.name = "MergeAttention", .overwrites = 0};
  at(OpKind::kBlockAttentionGrad) = {.name = "BlockAttentionGrad"};
  at(OpKind::kSharedRows) = {.name = "SharedRows", .gradient = SharedRowsGradient, .cheap = true};
  at(OpKind::kSharedRowsGrad) = {.name = "SharedRowsGrad", .accumulates = 0b1};
  at(OpKind::kConcatColumns) = {.name = "ConcatColumns", .gradient = ConcatColumnsGradient};
  at(OpKind::kSplitColumns) = {.name = "SplitColumns"};
  at(OpKind::kEmbedding) = {.name = "Embedding", .gradient = EmbeddingGradient};
  at(OpKind::kEmbeddingGrad) = {.name = "EmbeddingGrad", .accumulates = 0b1};
  at(OpKind::kLinearCrossEntropy) = {
      .name = "LinearCrossEntropy", .gradient = LinearCrossEntropyGradient, .composite = true};
  at(OpKind::kLinearCrossEntropyGrad) = {
      .name = "LinearCrossEntropyGrad", .composite = true, .accumulates = 0b100};
  at(OpKind::kSoftmaxStatistics) = {.name = "SoftmaxStatistics"};
  at(OpKind::kCrossEntropyLoss) = {.name = "CrossEntropyLoss"};
  at(OpKind::kCrossEntropyGrad) = {.name = "CrossEntropyGrad", .overwrites = 0};
  at(OpKind::kLossSum) = {.name = "LossSum"};
  at(OpKind::kGatherRows) = {.name = "GatherRows"};
  at(OpKind::kRouter) = {.name = "Router", .gradient = RouterGradient, .kept = true};
  at(OpKind::kRouterGrad) = {.name = "RouterGrad"};
  at(OpKind::kCountChoices) = {.name = "CountChoices", .kept = true};
  at(OpKind::kRouterLoss) = {.name = "RouterLoss", .gradient = RouterLossGradient};
  at(OpKind::kRouterLossGrad) = {.name = "RouterLossGrad"};
  at(OpKind::kDropOverflow) = {.name = "DropOverflow", .kept = true};
  at(OpKind::kCountDropped) = {.name = "CountDropped", .kept = true};
  at(OpKind::kGroupByExpert) = {.name = "GroupByExpert", .kept = true};
  at(OpKind::kPermuteRows) = {.name = "PermuteRows", .gradient = PermuteRowsGradient, .cheap = true};
  at(OpKind::kPermuteRowsGrad) = {.name = "PermuteRowsGrad"};
  at(OpKind::kCombineRows) = {.name = "CombineRows", .gradient = CombineRowsGradient};
  at(OpKind::kCombineRowsGrad) = {.name = "CombineRowsGrad"};
  at(OpKind::kExchangeOffsets) = {.name = "ExchangeOffsets", .communicates = true, .kept = true};
  at(OpKind::kReceivedOffsets) = {.name = "ReceivedOffsets", .kept = true};
  at(OpKind::kDispatchRows) = {
      .name = "DispatchRows", .gradient = DispatchRowsGradient, .communicates = true};
  at(OpKind::kReturnRows) = {.name = "ReturnRows", .gradient = ReturnRowsGradient, .communicates = true};
  at(OpKind::kGroupedLinear) = {.name = "GroupedLinear", .gradient = GroupedLinearGradient};
  at(OpKind::kGroupedLinearInputGrad) = {.name = "GroupedLinearInputGrad"};
  at(OpKind::kGroupedLinearWeightGrad) = {.name = "GroupedLinearWeightGrad", .accumulates = 0b1};
  at(OpKind::kRelabel) = {.name = "Relabel", .gradient = RedistributeGradient};
  at(OpKind::kAllReduce) = {
      .name = "AllReduce", .gradient = RedistributeGradient, .communicates = true, .overwrites = 0};
  at(OpKind::kAllGather) = {
      .name = "AllGather", .gradient = RedistributeGradient, .communicates = true, .regather = true};
  at(OpKind::kReduceScatter) = {
      .name = "ReduceScatter", .gradient = RedistributeGradient, .communicates = true};
  at(OpKind::kKeepOnFirst) = {.name = "KeepOnFirst", .gradient = RedistributeGradient, .cheap = true};
  at(OpKind::kSquaredNorm) = {.name = "SquaredNorm"};
  at(OpKind::kStepFactors) = {.name = "StepFactors"};
  at(OpKind::kAdamW) = {.name = "AdamW"};
  at(OpKind::kAddToGrid) = {.name = "AddToGrid", .accumulates = 0b1};
  at(OpKind::kGridSquaredNorm) = {.name = "GridSquaredNorm"};
  at(OpKind::kGridSum) = {.name = "GridSum"};
  at(OpKind::kGridNorm) = {.name = "GridNorm"};
  at(OpKind::kFromGrid) = {.name = "FromGrid"};
  return table;
}

}  // namespace

const OpDefinition& Definition(OpKind kind) {
  static const Table& table = *new Table(MakeTable());
  const OpDefinition& definition = table[static_cast<int>(kind)];
  CHECK(definition.name != nullptr) << "op kind " << static_cast<int>(kind) << " is not in the table";
  return definition;
}

}  // namespace trireme
