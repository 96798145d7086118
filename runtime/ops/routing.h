// Mixture of experts: which experts a token goes to, what the router pays for imbalance, and the way of rows
// to their experts and back. The products between are those of ops/grouped_linear.h.
#ifndef TRIREME_RUNTIME_OPS_ROUTING_H_
#define TRIREME_RUNTIME_OPS_ROUTING_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// The k experts of each token and their weights: softmax over all E, the k largest (the lower index where two
// are equal; a NaN is larger than all numbers), divided by their sum. Source: arXiv:2401.04088; as Hugging
// Face's MixtralSparseMoeBlock.
//   logits  [T, E]   E not sharded, 1 <= k <= E
// kRouter: (logits) -> weights [T, k] wide, experts i32 [T, k], the largest first. Never recomputed.
// kRouterGrad: (dweights, weights, experts) -> dlogits [T, E]. Attribute: num_experts
struct Routing {
  Tensor weights;
  Tensor experts;
};
Routing Router(Tensor logits, int64_t k);
void RouterGradient(GradientContext& g);

// How often the tokens of each of a replica's sequences chose each expert, over all ranks that share them
// (cp, and tp where it shards tokens). Never recomputed.
//   experts   i32 [T, k]   the tokens of each sequence follow each other, in the order of the ranks of cp, in
//   which tp's ranks follow each other; all sequences have as many
// kCountChoices: (experts) -> counts i32 [sequences, E], Partial where ranks share sequences. Attribute:
// tp_shards: the ranks of tp that hold other rows each, 1 where all hold the same. Those of cp
// always do, in the TokenOrder (token_order.h) of their number and `balanced`, an attribute too.
Tensor CountChoices(Tensor experts, int64_t num_experts, int64_t sequences, bool balanced = false);

// What the router pays for each token t, of sequence s:
//   balance * E * sum_e f_se p_te  +  z * logsumexp_e(logits[t])^2
// f_se: how often the sequence's tokens chose e, / S (no gradient); p_t: the token's softmax. Over a sequence
// the first adds up to S times Hugging Face's load_balancing_loss_func of that sequence and one block; the
// second is arXiv:2202.08906 eq. 5.
//   logits   [T, E], counts i32 [sequences, E] of CountChoices;  sequence_length: S, over all ranks
// kRouterLoss: (logits, counts) -> loss [T] wide
// kRouterLossGrad: (logits, counts) -> loss, dlogits [T, E]; as a root's gradient is one, it needs no loss
// beforehand and yields it. Attributes of both: sequence_length, tp_shards, balanced, balance, z
Tensor RouterLoss(Tensor logits, Tensor counts, int64_t sequence_length, double balance, double z,
                  bool balanced = false);
void RouterLossGradient(GradientContext& g);

// Of each sequence, an expert keeps the first `capacity` tokens that choose it, in the order in which they
// stand there, and drops the others' choices: they become -1. So what becomes of a token hangs on those
// before it alone, as it must where the next token is predicted, and on no other sequence. Source: the
// overflow of arXiv:2101.03961 section 2.2, of each sequence by itself. Never recomputed.
//   experts   i32 [T, k]   of Router, as CountChoices takes it, but whole on tp
// Where cp's ranks share sequences, the choices of all are gathered first.
// kDropOverflow: (experts i32 [T cp, k], rank by rank) -> i32 [T, k], this rank's. Attributes: num_experts,
// sequences, capacity, balanced (of TokenOrder)
Tensor DropOverflow(Tensor experts, int64_t num_experts, int64_t sequences, int64_t capacity,
                    bool balanced = false);

// Sorts the T k choices by expert; those of one expert stay in the order of the tokens. Choice t k + j is the
// j-th of token t. Where it was dropped it has no row: its place is -1, and behind the last row order is -1.
//   order    i32 [T k]    the choice whose row lies at this place
//   place    i32 [T k]    the inverse: where a choice's row lies
//   offsets  i32 [E + 1]  rows [offsets[e], offsets[e + 1]) are expert e's; empty ones are fine
// Each rank sorts its own tokens: Varying on the axes that shard them. Never recomputed.
// kGroupByExpert: (experts i32 [T, k]) -> order, place, offsets
struct Groups {
  Tensor order;
  Tensor place;
  Tensor offsets;
};
Groups GroupByExpert(Tensor experts, int64_t num_experts);

// Adds the choices without a row to Program::dropped_choices; ranks of tp count the same ones. Never
// recomputed. kCountDropped: (offsets, dropped_choices i64 [1]) -> dropped_choices, in place. Attribute:
// choices, T k
void CountDropped(const Groups& groups);

// rows[p] = x[order[p] / k], or zeros behind the last row; the gradient adds a token's rows in the order of
// its choices.
//   x [T, D]   D not sharded
// kPermuteRows: (x, order, place) -> rows [T k, D];  kPermuteRowsGrad: (drows, place) -> dx [T, D]
Tensor PermuteRows(Tensor x, const Groups& groups);
void PermuteRowsGradient(GradientContext& g);

// out[t] = sum_j weights[t, j] rows[place[t k + j]] over the choices with a row, added in the order of j. The
// weights of the others are lost: what is left is not scaled up. Gradients of rows behind the last are not
// written.
//   rows [T k, D] any placement of D, or Partial; weights [T, k] wide, Replicate where rows are Partial
// kCombineRows: (rows, weights, place) -> out [T, D]
// kCombineRowsGrad: (dout, rows, weights, place) -> drows [T k, D], dweights [T, k] wide
Tensor CombineRows(Tensor rows, Tensor weights, const Groups& groups);
void CombineRowsGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_ROUTING_H_
