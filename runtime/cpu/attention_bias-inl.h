// The bias of attention by distance, a vector of queries at a time. Included once for every instruction set,
// after simd-inl.h (Highway's convention for "-inl.h" files).
#if defined(TRIREME_RUNTIME_CPU_ATTENTION_BIAS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRIREME_RUNTIME_CPU_ATTENTION_BIAS_INL_H_
#undef TRIREME_RUNTIME_CPU_ATTENTION_BIAS_INL_H_
#else
#define TRIREME_RUNTIME_CPU_ATTENTION_BIAS_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"
#include "runtime/cpu/attention_tasks.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

// Adds the bias of a query head to a tile's scores [keys, queries], where the mask leaves any: as wide as
// they were computed. Without slopes nothing happens.
HWY_INLINE void AddBias(const AttentionBias& bias, int64_t query_head, const TileMask& mask, float* scores) {
  if (!bias.present()) return;
  const F32 d;
  const hn::RebindToSigned<F32> integers;
  HWY_ALIGN int32_t places[kTileQueries] = {};
  for (int64_t q = 0; q < mask.queries; ++q) places[q] = bias.QueryPlace(mask.q0 + q);
  const VF32 slope = hn::Set(d, bias.slopes[query_head]);
  for (int64_t k = 0; k < mask.keys; ++k) {
    const int64_t step = k / kStepKeys * kStepKeys;
    const Range seen = WholeSteps(mask.Queries({step, step + kStepKeys}), kStepQueries);
    const auto place = hn::Set(integers, bias.KeyPlace(mask.k0 + k));
    float* row = scores + k * kTileQueries;
    for (int64_t q = seen.begin; q < seen.end; q += NumLanes()) {
      const VF32 distance = hn::ConvertTo(d, hn::Sub(place, hn::Load(integers, places + q)));
      hn::Store(hn::MulAdd(slope, distance, hn::Load(d, row + q)), d, row + q);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
