// The ring form of context parallelism: keys and values pass round the ranks while the queries stay. Source:
// arXiv:2310.01889; the order of tokens by which causal ranks have equal work, arXiv:2311.09431
// (token_order.h).
#ifndef TRIREME_RUNTIME_OPS_RING_ATTENTION_H_
#define TRIREME_RUNTIME_OPS_RING_ATTENTION_H_

#include "runtime/autograd.h"
#include "runtime/ops/rope.h"
#include "runtime/recorder.h"

namespace trireme {

// Attention (ops/attention.h) whose keys lie on all cp ranks of axis cp. In hop h a rank has the keys and
// values of the rank h before it, and its query q sees of these [lo[q], hi[q]): nothing where hi[q] <= lo[q].
//   qkv    [T, (H + 2K) A], Shard(0) on cp
//   spans  i32 [cp * 2 * T]: hop by hop lo [T], then hi [T] (RingSpans of token_order.h); both never fall
//          with q; in hop 0 every query sees itself
//   slopes  f32 [H], optional, as in ops/attention.h
//   places  i32 [cp * T], beside slopes: where in the stream the tokens of each hop's rank stand, this rank's
//           own first (RingPlaces of token_order.h), so that distances are known
// Returns [T, H A]. `mean_keys` as in ops/attention.h.
// kRingAttention: (qkv, spans[, slopes, places]) -> out, lse [T, H] wide
// kRingAttentionGrad: (dout, qkv, out, lse, spans[, slopes, places]) -> dqkv
// Both are composites (passes/expand_ring.h). Attributes of both: query_heads, key_heads, head_size
Tensor RingAttention(Tensor qkv, Tensor spans, HeadShape heads, double mean_keys, Tensor slopes = {},
                     Tensor places = {});
void RingAttentionGradient(GradientContext& g);

// What they expand to.
// kTakeColumns: (x [T, C]) -> [T, c], columns [first, first + c) of x. Attribute: first
// kJoinColumns: (a [T, m], b [T, n], both wide) -> [T, m + n] in the compute dtype: a's columns, then b's
// kShift: (x) -> x of the rank before this one, in a ring. Only starts: x is being read and the result
// written until it is awaited. Attribute: axis
//
// kAwaitShift: (result of kShift, its x) -> the result, now there: the same storage. Attribute: axis
//
// kBlockAttention: (qkv [T, (H + 2K) A], kv [T', 2K A], lo, hi i32 [T]) -> out [T, H A] wide, lse [T, H] wide
// of the keys in [lo, hi) alone: 0 and -infinity where there are none. Three more inputs, slopes f32 [H] and
// the places of queries i32 [T] and keys i32 [T'], add slopes[h] (the key's - the query's) to scaled scores
//
// kMergeAttention: (out, lse, out', lse') -> out, lse of the keys of both; lse is finite, lse' need not be.
// May overwrite out
//
// kBlockAttentionGrad: (dout, qkv, out, lse, kv, lo, hi), out and lse those of all keys -> dq [T, H A] wide,
// dkv [T', 2K A] wide: this block's share of each. The same three more inputs
//
// Attributes of the three of attention: query_heads, key_heads, head_size
Tensor TakeColumns(Tensor x, int64_t first, int64_t columns);
Tensor JoinColumns(Tensor a, Tensor b, DType dtype);

// A shift under way, so that what stands between StartShift and Await is computed meanwhile. On an axis of
// size 1 it is x.
struct ShiftUnderWay {
  Tensor sent, result;
};
ShiftUnderWay StartShift(Tensor x, Axis axis);
Tensor Await(const ShiftUnderWay& shift, Axis axis);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_RING_ATTENTION_H_
