// Mixture of experts: which experts a token goes to, what the router pays for imbalance, and the way of rows
// to their experts and back. The products between are those of ops/grouped_linear.h.
#ifndef TRIREME_RUNTIME_OPS_ROUTING_H_
#define TRIREME_RUNTIME_OPS_ROUTING_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// The k experts of each token and their weights: softmax over all E, the k largest (the lower index where two
// are equal), divided by their sum. Source: arXiv:2401.04088; as Hugging Face's MixtralSparseMoeBlock.
//   logits  [T, E]   E not sharded, 1 <= k <= E
// kRouter: (logits) -> weights [T, k] wide, experts i32 [T, k], the largest first. Never recomputed.
// kRouterGrad: (dweights, weights, experts) -> dlogits [T, E]. Attribute: num_experts
struct Routing {
  Tensor weights;
  Tensor experts;
};
Routing Router(Tensor logits, int64_t k);
void RouterGradient(GradientContext& g);

// What the router pays, for each sequence of S tokens on this rank, weighted by its tokens:
//   balance * S * E * sum_e f_e p_e  +  z * sum_t logsumexp_e(logits[t])^2
// f_e: how often the sequence's tokens chose e, / S (no gradient); p_e: the mean of its softmax. The first is
// Hugging Face's load_balancing_loss_func of one sequence and one block, the second arXiv:2202.08906 eq. 5.
//   logits   [T, E], experts i32 [T, k]   T whole sequences
// kRouterLoss: (logits, experts) -> loss [T / S] wide
// kRouterLossGrad: (logits, experts) -> loss, dlogits [T, E]; as a root's gradient is one, it needs no loss
// beforehand and yields it. Attributes of both: sequence_length, balance, z
Tensor RouterLoss(Tensor logits, Tensor experts, int64_t sequence_length, double balance, double z);
void RouterLossGradient(GradientContext& g);

// Sorts the T k choices by expert; those of one expert stay in the order of the tokens. Choice t k + j is the
// j-th of token t.
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

// rows[p] = x[order[p] / k]; the gradient adds a token's k rows in the order of its choices.
//   x [T, D]   D not sharded
// kPermuteRows: (x, order, place) -> rows [T k, D];  kPermuteRowsGrad: (drows, place) -> dx [T, D]
Tensor PermuteRows(Tensor x, const Groups& groups);
void PermuteRowsGradient(GradientContext& g);

// out[t] = sum_j weights[t, j] rows[place[t k + j]], added in the order of j.
//   rows [T k, D] any placement of D, or Partial; weights [T, k] wide, Replicate where rows are Partial
// kCombineRows: (rows, weights, place) -> out [T, D]
// kCombineRowsGrad: (dout, rows, weights, place) -> drows [T k, D], dweights [T, k] wide
Tensor CombineRows(Tensor rows, Tensor weights, const Groups& groups);
void CombineRowsGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_ROUTING_H_
