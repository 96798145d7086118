#ifndef TRIREME_RUNTIME_OPS_ATTENTION_H_
#define TRIREME_RUNTIME_OPS_ATTENTION_H_

#include "runtime/autograd.h"
#include "runtime/ops/rope.h"
#include "runtime/recorder.h"

namespace trireme {

// Grouped-query attention over the tokens of this rank: query token q sees keys [lo[q], q], so one mask
// serves causal sequences, packed documents and sliding windows. Query head h reads key and value head h / (H
// / K).
//   out[q, h] = sum_k softmax_k(scale * q_h . k) v,   scale = 1 / sqrt(A)
// Source: arXiv:1706.03762; grouped queries arXiv:2305.13245; no T x T matrix is kept: arXiv:2205.14135.
//   qkv  [T, (H + 2K) A]   T not sharded inside a sequence
//   lo   i32 [T]           first key that q sees; non-decreasing, lo[q] <= q
//   slopes  f32 [H], optional: slopes[h] (k - q) is added to a scaled score (runtime/alibi.h). No gradient
// Keys that a query sees are of its own sequence, so their distance in memory is that of their positions.
// Returns out [T, H A]; saves the log-sum-exp of the scaled scores, wide.
// FLOPs (products only, by `mean_keys`, the mean number of keys that a query sees): 4 T mean_keys H A
// forward, 2.5 times that backward of which 2 times count as the mathematics' (the recomputed scores do not).
// kAttention: (qkv, lo[, slopes]) -> out, lse [T, H]
// kAttentionGrad: (dout [T, H A], qkv, out, lse, lo[, slopes]) -> dqkv [T, (H + 2K) A].
// Attributes of both: query_heads, key_heads, head_size
Tensor Attention(Tensor qkv, Tensor lo, HeadShape heads, double mean_keys, Tensor slopes = {});
void AttentionGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_ATTENTION_H_
