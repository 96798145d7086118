#ifndef TRIREME_RUNTIME_OPS_ROPE_H_
#define TRIREME_RUNTIME_OPS_ROPE_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// The heads that lie side by side in the columns of a packed projection, on this rank: H query heads, then K
// key heads, then K value heads, of A columns each.
struct HeadShape {
  int64_t query_heads;
  int64_t key_heads;
  int64_t head_size;
  int64_t columns() const { return (query_heads + 2 * key_heads) * head_size; }
};

// Rotary position embedding of the query and key heads: the pair (i, i + A/2) of a head turns by the angle
// position * theta^(-2i/A). Source: arXiv:2104.09864, in the half-split form of Hugging Face's LLaMA.
// Angles are computed in double, their cosine and sine rounded to the wide dtype.
//   qkv        [T, (H + 2K) A]
//   positions  i32 [T]   in the sequence
// kRope: (qkv, positions) -> qkv'; may overwrite qkv. Attributes: query_heads, key_heads, head_size, theta,
// inverse (1: turns back, which is the gradient)
Tensor Rope(Tensor qkv, Tensor positions, HeadShape heads, double theta);
void RopeGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_ROPE_H_
