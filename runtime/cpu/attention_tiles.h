// How attention is cut into tiles, and which part of a tile the mask leaves. Plain integers, no SIMD.
#ifndef TRIREME_RUNTIME_CPU_ATTENTION_TILES_H_
#define TRIREME_RUNTIME_CPU_ATTENTION_TILES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "runtime/program.h"

namespace trireme {

inline constexpr int64_t kTileQueries = 64;
inline constexpr int64_t kTileKeys = 64;
// The steps in which a tile is worked on and masked: keys share a step of a product, queries a vector.
inline constexpr int64_t kStepKeys = 4;
inline constexpr int64_t kStepQueries = 16;
// A stretch of tokens is cut off only where it has at least so many, lest tiles be small.
inline constexpr int64_t kMinStretch = 128;

struct Range {
  int64_t begin, end;
  bool empty() const { return begin >= end; }
  int64_t size() const { return end - begin; }
};

// `range` widened to whole steps.
constexpr Range WholeSteps(Range range, int64_t step) {
  return {range.begin / step * step, (range.end + step - 1) / step * step};
}

// The operands of ops/attention.h, in elements, or those of a block of ops/ring_attention.h, whose keys and
// values are a value of their own.
struct AttentionShape {
  AttentionShape(const Op& op, const Shape& qkv)
      : AttentionShape(op, qkv, qkv, op.attributes.Int("query_heads"), qkv.cols()) {}
  AttentionShape(const Op& op, const Shape& qkv, const Shape& kv)
      : AttentionShape(op, qkv, kv, 0, op.attributes.Int("query_heads") * op.attributes.Int("head_size")) {}

  int64_t group() const { return query_heads / key_heads; }
  // Column of a head in a row of queries, and in one of keys and values.
  int64_t QueryColumn(int64_t head) const { return head * head_size; }
  int64_t KeyColumn(int64_t key_head) const { return (heads_before_keys + key_head) * head_size; }
  int64_t ValueColumn(int64_t key_head) const {
    return (heads_before_keys + key_heads + key_head) * head_size;
  }

  int64_t tokens, keys;
  int64_t columns, key_columns, query_gradient_columns;  // of a row of each
  int64_t heads_before_keys;
  int64_t query_heads, key_heads, head_size;
  int64_t padded_size;  // of a head in a tile: whole vectors
  float scale;

 private:
  AttentionShape(const Op& op, const Shape& queries, const Shape& key_rows, int64_t heads_before,
                 int64_t gradient_columns)
      : tokens(queries.rows()),
        keys(key_rows.rows()),
        columns(queries.cols()),
        key_columns(key_rows.cols()),
        query_gradient_columns(gradient_columns),
        heads_before_keys(heads_before),
        query_heads(op.attributes.Int("query_heads")),
        key_heads(op.attributes.Int("key_heads")),
        head_size(op.attributes.Int("head_size")),
        padded_size((head_size + kStepQueries - 1) / kStepQueries * kStepQueries),
        scale(1.0f / std::sqrt(static_cast<float>(head_size))) {}
};

// Which keys each query sees: [lo[q], End(q)), neither of which falls with q.
struct AttentionMask {
  const int32_t* lo;
  const int32_t* hi = nullptr;  // absent: q + 1

  int64_t End(int64_t q) const { return hi != nullptr ? hi[q] : q + 1; }
};

// The part of the mask over the queries [q0, q0 + queries) and keys [k0, k0 + keys), in coordinates of the
// tile. `whole` is that of all queries.
struct TileMask {
  AttentionMask whole;
  int64_t q0, queries, k0, keys;

  bool is_causal() const { return whole.hi == nullptr; }

  // The smallest range of queries outside of which none sees any of `of`.
  Range Queries(Range of) const {
    int64_t begin = std::max<int64_t>(0, k0 + of.begin - q0);
    if (!is_causal()) {
      begin = 0;
      while (begin < queries && whole.hi[q0 + begin] <= k0 + of.begin) ++begin;
    }
    int64_t end = queries;
    while (end > begin && whole.lo[q0 + end - 1] > k0 + of.end - 1) --end;
    return {begin, end};
  }
  // The smallest range of keys outside of which none is seen by any of `of`.
  Range Keys(Range of) const {
    of.end = std::min(of.end, queries);
    if (of.empty()) return {0, 0};
    return {std::max<int64_t>(0, whole.lo[q0 + of.begin] - k0),
            std::min(keys, whole.End(q0 + of.end - 1) - k0)};
  }
  // Whether each of the queries sees each of the keys.
  bool AllVisible(Range of_queries, Range of_keys) const {
    return of_queries.end <= queries && whole.lo[q0 + of_queries.end - 1] <= k0 + of_keys.begin &&
           whole.End(q0 + of_queries.begin) >= k0 + of_keys.end;
  }
};

// Cuts the tokens into stretches that see nothing outside themselves, of kMinStretch tokens or more where the
// mask allows; the cuts depend on the mask alone. Calls f(Range of tokens).
template <typename F>
void ForStretches(const int32_t* lo, int64_t tokens, F f) {
  int64_t begin = 0;
  for (int64_t t = 1; t < tokens; ++t) {
    // lo never decreases: what follows sees nothing before t either.
    if (lo[t] == t && t - begin >= kMinStretch) {
      f(Range{begin, t});
      begin = t;
    }
  }
  if (begin < tokens) f(Range{begin, tokens});
}
constexpr int64_t MaxStretches(int64_t tokens) {
  return tokens / kMinStretch + 1;
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_ATTENTION_TILES_H_
