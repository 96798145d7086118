#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/cpu/attention_tasks.h"
#include "runtime/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/attention_forward.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "runtime/cpu/attention_bias-inl.h"
#include "runtime/cpu/attention_mask-inl.h"
#include "runtime/cpu/simd-inl.h"
#include "runtime/cpu/tile_products-inl.h"

#ifndef TRIREME_RUNTIME_CPU_ATTENTION_FORWARD_ONCE_
#define TRIREME_RUNTIME_CPU_ATTENTION_FORWARD_ONCE_
namespace trireme {
namespace {

// One query head's share of a tile of queries. Q is the query times the scale, transposed.
struct ForwardHead {
  float* q;        // [A', 64]
  float* out;      // [64, A'], not yet divided by the sum
  float* maximum;  // [64] of the scores so far
  float* sum;      // [64] of e^(score - maximum) so far
};

struct ForwardScratch {
  ForwardScratch(const AttentionShape& s, float* floats)
      : keys(floats),
        values(keys + kTileKeys * s.padded_size),
        scores(values + kTileKeys * s.padded_size),
        correction(scores + kTileKeys * kTileQueries),
        mask(reinterpret_cast<int32_t*>(correction + kTileQueries)),
        heads(correction + 3 * kTileQueries),
        padded_size(s.padded_size) {}

  static int64_t HeadFloats(int64_t padded_size) { return 2 * kTileQueries * (padded_size + 1); }
  static int64_t Floats(const AttentionShape& s) {
    return 2 * kTileKeys * s.padded_size + kTileKeys * kTileQueries + 3 * kTileQueries +
           s.group() * HeadFloats(s.padded_size);
  }
  ForwardHead head(int64_t g) const {
    float* q = heads + g * HeadFloats(padded_size);
    float* out = q + kTileQueries * padded_size;
    float* maximum = out + kTileQueries * padded_size;
    return {q, out, maximum, maximum + kTileQueries};
  }

  float* keys;        // [64, A']
  float* values;      // [64, A']
  float* scores;      // [64 keys, 64 queries]; then the weights
  float* correction;  // [64] of what was summed before the maximum grew
  int32_t* mask;      // [2, 64]: first and last key seen
  float* heads;
  int64_t padded_size;
};

// Below every score; finite, so that the difference of two of them is a number.
constexpr float kNoMaximum = -1e30f;

}  // namespace
}  // namespace trireme
#endif  // TRIREME_RUNTIME_CPU_ATTENTION_FORWARD_ONCE_

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

// scores [keys, queries], where the mask leaves any.
HWY_INLINE void Scores(const AttentionShape& s, const ForwardScratch& w, const ForwardHead& head,
                       const TileMask& mask) {
  for (int64_t k = 0; k < mask.keys; k += kStepKeys) {
    const Range seen = WholeSteps(mask.Queries({k, k + kStepKeys}), kStepQueries);
    if (seen.empty()) continue;
    RowsProduct<false, Start::kZero>({w.keys + k * s.padded_size, s.padded_size},
                                     {head.q + seen.begin, kTileQueries}, s.head_size,
                                     {w.scores + k * kTileQueries + seen.begin, kTileQueries}, seen.size());
  }
}

// Turns the scores of a vector of queries into weights e^(score - maximum), and brings maximum, sum and
// correction up to date. kMasked: some of these queries do not see some of these keys.
template <bool kMasked>
HWY_INLINE void SoftmaxOfVector(const ForwardScratch& w, const ForwardHead& head, const TileMask& mask,
                                Range keys, int64_t query) {
  const F32 d;
  float* column = w.scores + query;
  const QueryLanes lanes(mask, w.mask, query);
  const VF32 old_maximum = hn::Load(d, head.maximum + query);
  VF32 maximum = old_maximum;
  for (int64_t k = keys.begin; k < keys.end; ++k) {
    VF32 score = hn::Load(d, column + k * kTileQueries);
    if constexpr (kMasked) score = hn::IfThenElse(lanes.BlindTo(k), hn::Set(d, kNoMaximum), score);
    maximum = hn::Max(maximum, score);
  }
  VF32 sum = hn::Zero(d);
  for (int64_t k = keys.begin; k < keys.end; ++k) {
    VF32 weight = Exp(hn::Sub(hn::Load(d, column + k * kTileQueries), maximum));
    if constexpr (kMasked) weight = hn::IfThenZeroElse(lanes.BlindTo(k), weight);
    hn::Store(weight, d, column + k * kTileQueries);
    sum = hn::Add(sum, weight);
  }
  const VF32 correction = Exp(hn::Sub(old_maximum, maximum));
  hn::Store(correction, d, w.correction + query);
  hn::Store(maximum, d, head.maximum + query);
  hn::Store(hn::MulAdd(correction, hn::Load(d, head.sum + query), sum), d, head.sum + query);
}

HWY_INLINE void Softmax(const ForwardScratch& w, const ForwardHead& head, const TileMask& mask) {
  for (int64_t q = 0; q < mask.queries; q += kStepQueries) {
    const Range queries = {q, q + kStepQueries};
    const Range keys = mask.Keys(queries);
    if (keys.empty()) {
      std::fill_n(w.correction + q, kStepQueries, 1.0f);
      continue;
    }
    const bool masked = !mask.AllVisible(queries, keys);
    for (int64_t lane = 0; lane < kStepQueries; lane += NumLanes()) {
      if (masked) {
        SoftmaxOfVector<true>(w, head, mask, keys, q + lane);
      } else {
        SoftmaxOfVector<false>(w, head, mask, keys, q + lane);
      }
    }
  }
}

// out = correction * out + weights^T values
HWY_INLINE void AddValues(const AttentionShape& s, const ForwardScratch& w, const ForwardHead& head,
                          const TileMask& mask) {
  for (int64_t q = 0; q < mask.queries; q += kProductRows) {
    const Range keys = mask.Keys({q, q + kProductRows});
    if (keys.empty()) continue;
    RowsProduct<true, Start::kScaledAdd>({w.scores + keys.begin * kTileQueries + q, kTileQueries},
                                         {w.values + keys.begin * s.padded_size, s.padded_size}, keys.size(),
                                         {head.out + q * s.padded_size, s.padded_size}, s.padded_size,
                                         w.correction + q);
  }
}

// A query that saw nothing has out 0 and lse -infinity.
template <typename Out>
void StoreHead(const AttentionCall& call, const ForwardHead& head, int64_t query_head, Range queries) {
  const AttentionShape& s = call.shape;
  Out* out = static_cast<Out*>(call.out);
  float* lse = call.lse;
  for (int64_t i = 0; i < queries.size(); ++i) {
    const int64_t t = queries.begin + i;
    UnpackRow(head.out + i * s.padded_size, head.sum[i] > 0 ? 1.0f / head.sum[i] : 0.0f, s.head_size,
              out + (t * s.query_heads + query_head) * s.head_size);
    lse[t * s.query_heads + query_head] = head.maximum[i] + std::log(head.sum[i]);
  }
}

template <typename T, typename Out>
void ForwardOf(const AttentionCall& call, int64_t key_head, Range queries, float* scratch) {
  const AttentionShape& s = call.shape;
  const ForwardScratch w(s, scratch);
  FillMask(call.mask, queries, w.mask);
  for (int64_t g = 0; g < s.group(); ++g) {
    const ForwardHead head = w.head(g);
    const T* q = static_cast<const T*>(call.queries) + queries.begin * s.columns +
                 s.QueryColumn(key_head * s.group() + g);
    PackRows(q, s.columns, queries.size(), s.head_size, s.scale, w.keys, kTileQueries, s.padded_size);
    Transpose(w.keys, kTileQueries, s.padded_size, head.q);
    std::fill_n(head.out, kTileQueries * s.padded_size, 0.0f);
    std::fill_n(head.maximum, kTileQueries, kNoMaximum);
    std::fill_n(head.sum, kTileQueries, 0.0f);
  }
  const int64_t end = call.mask.End(queries.end - 1);
  for (int64_t k = call.mask.lo[queries.begin]; k < end; k += kTileKeys) {
    const TileMask mask = {call.mask, queries.begin, queries.size(), k, std::min(kTileKeys, end - k)};
    const T* key = static_cast<const T*>(call.keys) + k * s.key_columns;
    PackRows(key + s.KeyColumn(key_head), s.key_columns, mask.keys, s.head_size, 1.0f, w.keys, kTileKeys,
             s.padded_size);
    PackRows(key + s.ValueColumn(key_head), s.key_columns, mask.keys, s.head_size, 1.0f, w.values, kTileKeys,
             s.padded_size);
    for (int64_t g = 0; g < s.group(); ++g) {
      const ForwardHead head = w.head(g);
      Scores(s, w, head, mask);
      AddBias(call.bias, key_head * s.group() + g, mask, w.scores);
      Softmax(w, head, mask);
      AddValues(s, w, head, mask);
    }
  }
  for (int64_t g = 0; g < s.group(); ++g) {
    StoreHead<Out>(call, w.head(g), key_head * s.group() + g, queries);
  }
}

void Forward(const AttentionCall& call, int64_t key_head, Range queries, float* scratch) {
  ForFastFloat(call.compute, [&](auto type) {
    using T = decltype(type);
    if (call.stored == call.compute) {
      ForwardOf<T, T>(call, key_head, queries, scratch);
    } else {
      ForwardOf<T, float>(call, key_head, queries, scratch);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(Forward);

void AttentionTask(const AttentionCall& call, int64_t key_head, Range queries, float* scratch) {
  HWY_DYNAMIC_DISPATCH(Forward)(call, key_head, queries, scratch);
}

int64_t AttentionTaskFloats(const AttentionShape& shape) {
  return ForwardScratch::Floats(shape);
}

}  // namespace trireme
#endif  // HWY_ONCE
