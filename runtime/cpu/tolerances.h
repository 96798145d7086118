// How far a kernel's result may lie from the plain kernel's in double, and why. The distance of an element is
// |a - b| / (|b| + the root mean square of b's tensor).
#ifndef TRIREME_RUNTIME_CPU_TOLERANCES_H_
#define TRIREME_RUNTIME_CPU_TOLERANCES_H_

#include "runtime/dtype.h"
#include "runtime/op_kind.h"

namespace trireme {

// Of results that are stored as f32.
constexpr double Float32Tolerance(OpKind kind) {
  switch (kind) {
    case OpKind::kAdd:
    case OpKind::kCast:
    case OpKind::kGatherRows:
    case OpKind::kKeepOnFirst:
    case OpKind::kTakeColumns:
    case OpKind::kJoinColumns:
    case OpKind::kSplitHeads:
    case OpKind::kJoinHeads:
    case OpKind::kSharedRows:
    case OpKind::kSharedRowsGrad:
    case OpKind::kConcatColumns:
    case OpKind::kSplitColumns:
    case OpKind::kEmbedding:
    case OpKind::kDropout:
      return 1.5e-7;  // one or two roundings of 2^-24 each
    case OpKind::kLayerNorm:
    case OpKind::kLayerNormGrad:
    case OpKind::kAddLayerNorm:
    case OpKind::kAddLayerNormGrad:
      return 1e-5;  // x - mean where the mean is ten deviations: the mean's rounding counts tenfold
    case OpKind::kLinear:
    case OpKind::kLinearInputGrad:
    case OpKind::kLinearWeightGrad:
    case OpKind::kLinearGelu:
    case OpKind::kLinearInputGeluGrad:
    case OpKind::kLinearWeightBiasGrad:
    case OpKind::kGroupedLinear:
    case OpKind::kGroupedLinearInputGrad:
    case OpKind::kGroupedLinearWeightGrad:
    case OpKind::kAttention:
    case OpKind::kAttentionGrad:
    case OpKind::kBlockAttention:
    case OpKind::kBlockAttentionGrad:
      return 5e-6;  // sums of up to some hundred products in fp32, and exponentials of such
    case OpKind::kSoftmaxStatistics:
    case OpKind::kCrossEntropyLoss:
    case OpKind::kCrossEntropyGrad:
      return 3e-6;  // exponentials of differences of logits around 15, whose rounding is 1e-6
    default:
      return 2e-6;  // a short chain of roundings, and sums of some hundred terms in fp32
  }
}

// Of results that are stored as bf16: half a unit in the last of its 8 bits, 2^-8.
inline constexpr double kBf16Tolerance = 4e-3;

// Attention in bf16 multiplies probabilities that were rounded to bf16 too, before they are summed.
inline constexpr double kBf16AttentionTolerance = 2e-2;

// Of results in f64 that were summed in another order.
inline constexpr double kFloat64Tolerance = 1e-12;

constexpr double ToleranceOf(OpKind kind, DType stored, DType compute) {
  if (stored == DType::kBF16 || compute == DType::kBF16) {
    if (kind == OpKind::kAttention || kind == OpKind::kAttentionGrad) return kBf16AttentionTolerance;
  }
  if (stored == DType::kBF16 && kind == OpKind::kAdamW) return 2 * kBf16Tolerance;  // up or down
  if (stored == DType::kBF16 && (kind == OpKind::kLinearGelu || kind == OpKind::kLinearInputGeluGrad)) {
    return 2 * kBf16Tolerance;  // the product is rounded, then what is made of it
  }
  if (stored == DType::kBF16) return kBf16Tolerance;
  if (stored == DType::kF64) return kFloat64Tolerance;
  return Float32Tolerance(kind);
}

// Of a gradient in double by central differences with step 1e-5: the third derivative's share is 1e-10, that
// of rounding 1e-16 / 1e-5 times the size of the sum.
inline constexpr double kDifferenceTolerance = 1e-8;

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_TOLERANCES_H_
