#include <algorithm>
#include <limits>

#include "runtime/cpu/attention_tasks.h"
#include "runtime/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/attention_backward.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"
#include "runtime/cpu/attention_bias-inl.h"
#include "runtime/cpu/attention_mask-inl.h"
#include "runtime/cpu/simd-inl.h"
#include "runtime/cpu/tile_products-inl.h"

#ifndef TRIREME_RUNTIME_CPU_ATTENTION_BACKWARD_ONCE_
#define TRIREME_RUNTIME_CPU_ATTENTION_BACKWARD_ONCE_
namespace trireme {
namespace {

struct BackwardScratch {
  BackwardScratch(const AttentionShape& s, float* floats)
      : q(floats),
        q_transposed(q + kTileQueries * s.padded_size),
        dout(q_transposed + kTileQueries * s.padded_size),
        dout_transposed(dout + kTileQueries * s.padded_size),
        dq(dout_transposed + kTileQueries * s.padded_size),
        keys(dq + kTileQueries * s.padded_size),
        values(keys + kTileKeys * s.padded_size),
        weights(values + kTileKeys * s.padded_size),
        dscores(weights + kTileKeys * kTileQueries),
        lse(dscores + kTileKeys * kTileQueries),
        delta(lse + kTileQueries),
        mask(reinterpret_cast<int32_t*>(delta + kTileQueries)),
        dkeys(delta + 3 * kTileQueries),
        dvalues(dkeys + StretchRows(s) * s.padded_size) {}

  // The last step of keys may reach over the end of a stretch.
  static int64_t StretchRows(const AttentionShape& s) { return s.keys + kStepKeys; }
  static int64_t Floats(const AttentionShape& s) {
    return (5 * kTileQueries + 2 * kTileKeys + 2 * StretchRows(s)) * s.padded_size +
           2 * kTileKeys * kTileQueries + 4 * kTileQueries;
  }

  // One query head's share of a tile of queries; q is the query times the scale.
  float *q, *q_transposed, *dout, *dout_transposed, *dq;  // [64, A'] and [A', 64]
  float *keys, *values;                                   // [64, A']
  float* weights;                                         // [64 keys, 64 queries]
  float* dscores;                                         // the same; first the gradient of the weights
  float *lse, *delta;                                     // [64]; delta = out . dout
  int32_t* mask;                                          // [2, 64]: first and last key seen
  float *dkeys, *dvalues;                                 // [stretch, A']
};

}  // namespace
}  // namespace trireme
#endif  // TRIREME_RUNTIME_CPU_ATTENTION_BACKWARD_ONCE_

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

// scores = keys q^T and dweights = values dout^T, where the mask leaves any.
HWY_INLINE void ScoresAndWeightGrads(const AttentionShape& s, const BackwardScratch& w,
                                     const TileMask& mask) {
  for (int64_t k = 0; k < mask.keys; k += kStepKeys) {
    const Range seen = WholeSteps(mask.Queries({k, k + kStepKeys}), kStepQueries);
    if (seen.empty()) continue;
    const int64_t at = k * kTileQueries + seen.begin;
    RowsProduct<false, Start::kZero>({w.keys + k * s.padded_size, s.padded_size},
                                     {w.q_transposed + seen.begin, kTileQueries}, s.head_size,
                                     {w.weights + at, kTileQueries}, seen.size());
    RowsProduct<false, Start::kZero>({w.values + k * s.padded_size, s.padded_size},
                                     {w.dout_transposed + seen.begin, kTileQueries}, s.head_size,
                                     {w.dscores + at, kTileQueries}, seen.size());
  }
}

// weights = e^(score - lse), dscores = weights * (dweights - delta), for a vector of queries.
template <bool kMasked>
HWY_INLINE void SoftmaxGradOfVector(const BackwardScratch& w, const TileMask& mask, Range keys,
                                    int64_t query) {
  const F32 d;
  const QueryLanes lanes(mask, w.mask, query);
  const VF32 lse = hn::Load(d, w.lse + query);
  const VF32 delta = hn::Load(d, w.delta + query);
  for (int64_t k = keys.begin; k < keys.end; ++k) {
    const int64_t at = k * kTileQueries + query;
    VF32 weight = Exp(hn::Sub(hn::Load(d, w.weights + at), lse));
    if constexpr (kMasked) weight = hn::IfThenZeroElse(lanes.BlindTo(k), weight);
    hn::Store(weight, d, w.weights + at);
    hn::Store(hn::Mul(weight, hn::Sub(hn::Load(d, w.dscores + at), delta)), d, w.dscores + at);
  }
}

HWY_INLINE void SoftmaxGrad(const BackwardScratch& w, const TileMask& mask) {
  for (int64_t q = 0; q < mask.queries; q += kStepQueries) {
    const Range queries = {q, q + kStepQueries};
    const Range keys = WholeSteps(mask.Keys(queries), kStepKeys);
    if (keys.empty()) continue;
    const bool masked = !mask.AllVisible(queries, keys);
    for (int64_t lane = 0; lane < kStepQueries; lane += NumLanes()) {
      if (masked) {
        SoftmaxGradOfVector<true>(w, mask, keys, q + lane);
      } else {
        SoftmaxGradOfVector<false>(w, mask, keys, q + lane);
      }
    }
  }
}

// dvalues += weights dout, dkeys += dscores q, for the keys of this tile; row 0 is that of its first key.
HWY_INLINE void AddKeyGrads(const AttentionShape& s, const BackwardScratch& w, const TileMask& mask,
                            float* dkeys, float* dvalues) {
  for (int64_t k = 0; k < mask.keys; k += kStepKeys) {
    const Range seen = mask.Queries({k, k + kStepKeys});
    if (seen.empty()) continue;
    const int64_t at = k * kTileQueries + seen.begin;
    const int64_t row = seen.begin * s.padded_size;
    RowsProduct<false, Start::kAdd>({w.weights + at, kTileQueries}, {w.dout + row, s.padded_size},
                                    seen.size(), {dvalues + k * s.padded_size, s.padded_size}, s.padded_size);
    RowsProduct<false, Start::kAdd>({w.dscores + at, kTileQueries}, {w.q + row, s.padded_size}, seen.size(),
                                    {dkeys + k * s.padded_size, s.padded_size}, s.padded_size);
  }
}

// dq += dscores^T keys, not yet times the scale
HWY_INLINE void AddQueryGrads(const AttentionShape& s, const BackwardScratch& w, const TileMask& mask) {
  for (int64_t q = 0; q < mask.queries; q += kProductRows) {
    const Range keys = mask.Keys({q, q + kProductRows});
    if (keys.empty()) continue;
    RowsProduct<true, Start::kAdd>({w.dscores + keys.begin * kTileQueries + q, kTileQueries},
                                   {w.keys + keys.begin * s.padded_size, s.padded_size}, keys.size(),
                                   {w.dq + q * s.padded_size, s.padded_size}, s.padded_size);
  }
}

// Packs what belongs to a tile of queries of one head.
template <typename T>
void LoadQueries(const AttentionCall& call, const BackwardScratch& w, int64_t query_head, Range queries) {
  const AttentionShape& s = call.shape;
  const int64_t width = s.query_heads * s.head_size;
  const int64_t at = queries.begin * width + query_head * s.head_size;
  const T* dout = static_cast<const T*>(call.dout) + at;
  const T* q = static_cast<const T*>(call.queries) + queries.begin * s.columns + s.QueryColumn(query_head);
  const T* out = static_cast<const T*>(call.out) + at;
  const float* lse = call.lse;
  PackRows(q, s.columns, queries.size(), s.head_size, s.scale, w.q, kTileQueries, s.padded_size);
  Transpose(w.q, kTileQueries, s.padded_size, w.q_transposed);
  PackRows(dout, width, queries.size(), s.head_size, 1.0f, w.dout, kTileQueries, s.padded_size);
  Transpose(w.dout, kTileQueries, s.padded_size, w.dout_transposed);
  std::fill_n(w.dq, kTileQueries * s.padded_size, 0.0f);
  std::fill_n(w.lse, 2 * kTileQueries, 0.0f);
  for (int64_t i = 0; i < queries.size(); ++i) {
    w.lse[i] = lse[(queries.begin + i) * s.query_heads + query_head];
    w.delta[i] = Sum(
        s.head_size, [](VF32 x, VF32 y) HWY_ATTR { return hn::Mul(x, y); }, out + i * width,
        w.dout + i * s.padded_size);
  }
}

template <typename T>
void BackwardTile(const AttentionCall& call, const BackwardScratch& w, int64_t query_head, Range queries,
                  int64_t stretch_begin) {
  const AttentionShape& s = call.shape;
  const int64_t key_head = query_head / s.group();
  const int64_t end = call.mask.End(queries.end - 1);
  for (int64_t k = call.mask.lo[queries.begin]; k < end; k += kTileKeys) {
    const TileMask mask = {call.mask, queries.begin, queries.size(), k, std::min(kTileKeys, end - k)};
    const T* key = static_cast<const T*>(call.keys) + k * s.key_columns;
    PackRows(key + s.KeyColumn(key_head), s.key_columns, mask.keys, s.head_size, 1.0f, w.keys, kTileKeys,
             s.padded_size);
    PackRows(key + s.ValueColumn(key_head), s.key_columns, mask.keys, s.head_size, 1.0f, w.values, kTileKeys,
             s.padded_size);
    ScoresAndWeightGrads(s, w, mask);
    AddBias(call.bias, query_head, mask, w.weights);
    SoftmaxGrad(w, mask);
    const int64_t row = (k - stretch_begin) * s.padded_size;
    AddKeyGrads(s, w, mask, w.dkeys + row, w.dvalues + row);
    AddQueryGrads(s, w, mask);
  }
}

template <typename T, typename Out>
void BackwardOf(const AttentionCall& call, int64_t key_head, Range stretch, float* scratch) {
  const AttentionShape& s = call.shape;
  const BackwardScratch w(s, scratch);
  auto* dqueries = static_cast<Out*>(call.dqueries);
  // A stretch sees its own tokens; a block is seen as a whole.
  const Range keys = call.mask.hi == nullptr ? stretch : Range{0, s.keys};
  const int64_t used = (keys.size() + kStepKeys) * s.padded_size;
  std::fill_n(w.dkeys, used, 0.0f);
  std::fill_n(w.dvalues, used, 0.0f);
  for (int64_t q = stretch.begin; q < stretch.end; q += kTileQueries) {
    const Range queries = {q, std::min(q + kTileQueries, stretch.end)};
    FillMask(call.mask, queries, w.mask);
    for (int64_t h = key_head * s.group(); h < (key_head + 1) * s.group(); ++h) {
      LoadQueries<T>(call, w, h, queries);
      BackwardTile<T>(call, w, h, queries, keys.begin);
      for (int64_t i = 0; i < queries.size(); ++i) {
        UnpackRow(w.dq + i * s.padded_size, s.scale, s.head_size,
                  dqueries + (q + i) * s.query_gradient_columns + s.QueryColumn(h));
      }
    }
  }
  for (int64_t i = 0; i < keys.size(); ++i) {
    Out* row = static_cast<Out*>(call.dkeys) + (keys.begin + i) * s.key_columns;
    UnpackRow(w.dkeys + i * s.padded_size, 1.0f, s.head_size, row + s.KeyColumn(key_head));
    UnpackRow(w.dvalues + i * s.padded_size, 1.0f, s.head_size, row + s.ValueColumn(key_head));
  }
}

void Backward(const AttentionCall& call, int64_t key_head, Range stretch, float* scratch) {
  ForFastFloat(call.compute, [&](auto type) {
    using T = decltype(type);
    if (call.stored == call.compute) {
      BackwardOf<T, T>(call, key_head, stretch, scratch);
    } else {
      BackwardOf<T, float>(call, key_head, stretch, scratch);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(Backward);

void AttentionGradTask(const AttentionCall& call, int64_t key_head, Range stretch, float* scratch) {
  HWY_DYNAMIC_DISPATCH(Backward)(call, key_head, stretch, scratch);
}

int64_t AttentionGradTaskFloats(const AttentionShape& shape) {
  return BackwardScratch::Floats(shape);
}

}  // namespace trireme
#endif  // HWY_ONCE
