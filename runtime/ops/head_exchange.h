// The all-to-all form of context parallelism: around attention, ranks that each hold all heads of a part of
// the tokens come to hold a part of the heads of all tokens. Source: arXiv:2309.14509.
#ifndef TRIREME_RUNTIME_OPS_HEAD_EXCHANGE_H_
#define TRIREME_RUNTIME_OPS_HEAD_EXCHANGE_H_

#include "runtime/autograd.h"
#include "runtime/ops/rope.h"
#include "runtime/recorder.h"

namespace trireme {

// Of n ranks along `axis`, rank r has the query heads [r H/n, (r+1) H/n) and likewise the key and the value
// heads, of all tokens: the ranks' tokens follow each other by rank.
//   x      [T, C], Shard(0) on `axis`; C = heads.columns(); n divides H and K
// Returns [n T, C/n], Shard(1). On an axis of size 1 x stays as it is, in both functions.
Tensor TokensToHeads(Tensor x, Axis axis, HeadShape heads);
// The way back: x [n T, C/n] -> [T, C]. Each is the other's gradient. `heads`: those of the result.
Tensor HeadsToTokens(Tensor x, Axis axis, HeadShape heads);

// What they are recorded as. A block is what goes to one rank, or came from it: Varying on `axis`.
// kSplitHeads: (x [T, C]) -> blocks [n T, C/n]; kJoinHeads: (blocks) -> x. Attributes of both: query_heads,
// key_heads, head_size (of x), parts (n)
// kAllToAll: (blocks) -> blocks: block r goes to rank r. Attribute: axis
void SplitHeadsGradient(GradientContext& g);
void JoinHeadsGradient(GradientContext& g);
void AllToAllGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_HEAD_EXCHANGE_H_
