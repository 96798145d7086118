#include "models/mixtral.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "models/layers.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/expert_exchange.h"
#include "runtime/ops/grouped_linear.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/routing.h"

namespace trireme {
// The router works on the stream, before tensor parallelism enters: every tp rank makes the same choices, or,
// where the stream's tokens are sharded over tp, those of its own tokens.
Tensor Mixtral::RouterLogits(const std::string& name, Tensor x) const {
  Parameter gate =
      Matrix(name + ".gate.weight", config().num_local_experts(), hidden_size(), 0, kInitialDeviation);
  gate.layout = {kReplicate, OnStream(x)};
  return Linear(x, x.recorder().Parameters({gate}));
}

Tensor Mixtral::GateUp(const std::string& name, Recorder& recorder) const {
  const int64_t d = hidden_size(), f = config().intermediate_size();
  std::vector<Parameter> parts;
  for (int64_t e = 0; e < config().num_local_experts(); ++e) {
    for (const char* part : {".w1.weight", ".w3.weight"}) {
      parts.push_back(Matrix(absl::StrCat(name, ".experts.", e, part), f, d, 0, kInitialDeviation));
      parts.back().layout[Axis::kEp] = OfExperts(recorder);
    }
  }
  return recorder.Parameters(std::move(parts));
}

Tensor Mixtral::Down(const std::string& name, Recorder& recorder) const {
  const int64_t d = hidden_size(), f = config().intermediate_size();
  std::vector<Parameter> parts;
  for (int64_t e = 0; e < config().num_local_experts(); ++e) {
    parts.push_back(Matrix(absl::StrCat(name, ".experts.", e, ".w2.weight"), d, f, 1, ResidualDeviation()));
    parts.back().layout[Axis::kEp] = OfExperts(recorder);
  }
  return recorder.Parameters(std::move(parts));
}

int64_t Mixtral::Capacity(int64_t sequence_length) const {
  const double factor = config().expert_capacity_factor();
  if (factor == 0) return sequence_length;
  const double share = static_cast<double>(config().num_experts_per_tok() * sequence_length) /
                       static_cast<double>(config().num_local_experts());
  // A product that is whole but for its rounding is not rounded up.
  constexpr double kRounding = 1e-9;
  const double most = std::ceil(factor * share * (1 - kRounding));
  return std::min(sequence_length, static_cast<int64_t>(most));
}

Groups Mixtral::GroupChoices(Tensor experts, const Batch& batch) const {
  const int64_t num_experts = config().num_local_experts();
  if (config().expert_capacity_factor() == 0) return GroupByExpert(experts, num_experts);
  const Groups groups = GroupByExpert(DropOverflow(experts, num_experts, batch.sequences,
                                                   Capacity(batch.sequence_length), batch.order.balanced),
                                      num_experts);
  if (batch.trains) CountDropped(groups);
  return groups;
}

Tensor Mixtral::FeedForward(const std::string& block, Tensor x, const Batch& batch) const {
  Recorder& recorder = x.recorder();
  const std::string name = block + ".block_sparse_moe";
  const Tensor logits = RouterLogits(name, x);
  const Routing routing = Router(logits, config().num_experts_per_tok());
  // The mean over the blocks, so that depth does not change its weight against the loss.
  const double balance = config().router_aux_loss_coef() / num_blocks();
  const double z = config().router_z_loss_coef() / num_blocks();
  if (batch.trains && (balance != 0 || z != 0)) {
    const Tensor counts =
        CountChoices(routing.experts, config().num_local_experts(), batch.sequences, batch.order.balanced);
    recorder.AuxiliaryRoot(
        RouterLoss(logits, counts, batch.sequence_length, balance, z, batch.order.balanced));
  }
  const Groups groups = GroupChoices(FromStream(routing.experts), batch);
  const Tensor in = FromStream(x);
  const Tensor rows = PermuteRows(in, groups);
  const ExpertRows here = DispatchRows(rows, groups.offsets, config().num_experts_per_tok(),
                                       batch.sequences * Capacity(batch.sequence_length));
  const Tensor hidden = SwiGlu(GroupedLinear(here.rows, GateUp(name, recorder), here.offsets), here.offsets);
  const Tensor out = GroupedLinear(hidden, Down(name, recorder), here.offsets);
  const Tensor returned = ReturnRows(out, here, rows.shape()[0]);
  Tensor combined = CombineRows(returned, FromStream(routing.weights), groups);
  if (const int64_t shared = config().num_shared_experts(); shared > 0) {
    combined = combined + GatedUnit(name + ".shared_experts", in, shared * config().intermediate_size());
  }
  return ToStream(combined, x);
}

}  // namespace trireme
