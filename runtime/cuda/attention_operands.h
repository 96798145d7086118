// What all attention kernels share: where heads lie in memory, and which queries see a key.
#ifndef TRIREME_RUNTIME_CUDA_ATTENTION_OPERANDS_H_
#define TRIREME_RUNTIME_CUDA_ATTENTION_OPERANDS_H_

#include <glog/logging.h>

#include <cmath>

#include "runtime/cuda/gpu.h"
#include "runtime/kernel.h"

namespace trireme {

// The softmax is computed in base 2: e^(scale s) = 2^(scale log2(e) s).
inline constexpr float kLog2E = 1.4426950408889634f;

// Tokens are counted in int, as in lo; elements of memory in int64_t.
struct AttentionHeads {
  AttentionHeads(const Op& op, const View& qkv)
      : tokens(static_cast<int>(qkv.shape.rows())),
        query_heads(static_cast<int>(op.attributes.Int("query_heads"))),
        key_heads(static_cast<int>(op.attributes.Int("key_heads"))),
        head_size(static_cast<int>(op.attributes.Int("head_size"))) {
    // Tiles behind the last token, and the search's steps, stay below 2^31.
    CHECK_LT(qkv.shape.rows(), int64_t{1} << 30) << "Attention";
  }

  GPU_HD int group() const { return query_heads / key_heads; }
  // Elements of a row of qkv, and of out.
  GPU_HD int64_t columns() const { return static_cast<int64_t>(query_heads + 2 * key_heads) * head_size; }
  GPU_HD int64_t out_columns() const { return static_cast<int64_t>(query_heads) * head_size; }
  // Where a head begins in a row of qkv; in a row of out, as in qkv, the query heads come first.
  GPU_HD int64_t QueryColumn(int head) const { return static_cast<int64_t>(head) * head_size; }
  GPU_HD int64_t KeyColumn(int key_head) const {
    return static_cast<int64_t>(query_heads + key_head) * head_size;
  }
  GPU_HD int64_t ValueColumn(int key_head) const {
    return static_cast<int64_t>(query_heads + key_heads + key_head) * head_size;
  }
  // 1 / sqrt(A)
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(head_size)); }

  int tokens, query_heads, key_heads, head_size;
};

// What the gradient needs of a query besides its vectors: the weights are 2^(scale log2(e) s - lse), and
// dscore = weight (dweight - delta).
struct alignas(8) AttentionStatistics {
  float lse;    // times log2(e)
  float delta;  // out . dout
};

// The statistics of a head are [tokens, rounded up], so that whole tiles of them can be copied. Behind the
// last token they are zero: the weights that follow are finite, and meet rows of zeros.
inline constexpr int kStatisticsPadding = 64;
GPU_HD int64_t PaddedTokens(int tokens) {
  return CeilDiv<int64_t>(tokens, kStatisticsPadding) * kStatisticsPadding;
}

// Query q sees keys [lo[q], q].
GPU_FN bool Sees(int q, int lo, int k) {
  return lo <= k && k <= q;
}

// The first token of [begin, end) whose lo lies behind `key`, or end: lo never decreases. The whole warp
// calls it, with the same arguments; 32 probes at once.
GPU_FN int FirstBlindTo(int key, const int* lo, int begin, int end) {
  while (begin < end) {
    const int step = CeilDiv(end - begin, kWarpSize);
    const int probe = begin + (LaneId() + 1) * step - 1;
    // True in a prefix of the lanes.
    const bool sees = probe < end && lo[probe] <= key;
    begin += __popc(Ballot(sees)) * step;
    end = Min(end, begin + step - 1);
  }
  return begin;
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_ATTENTION_OPERANDS_H_
