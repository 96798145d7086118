// ResolveMesh of validate.h: what depends on the number of ranks.
#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "configs/validate.h"
#include "glog/logging.h"

namespace trireme {
namespace {

bool Divides(int64_t a, int64_t b) {
  return b % a == 0;
}

// Whether tp ranks can share `heads` key and value heads: all have as many whole ones, or all have one, which
// tp / heads of them share.
bool CanShareKeyHeads(int64_t heads, int64_t tp) {
  return Divides(tp, heads) || Divides(heads, tp);
}

// The divisors of n that `usable` allows, in words: "1, 2, 4 or 8". Only the 16 smallest: nobody reads more.
std::string DivisorsInWords(
    int64_t n, const std::function<bool(int64_t)>& usable = [](int64_t) { return true; }) {
  std::vector<std::string> divisors;
  for (int64_t d = 1; d <= n && divisors.size() < 16; ++d) {
    if (Divides(d, n) && usable(d)) divisors.push_back(absl::StrCat(d));
  }
  if (divisors.size() == 1) return divisors[0];
  const std::string last = divisors.back();
  divisors.pop_back();
  return absl::StrCat(absl::StrJoin(divisors, ", "), " or ", last);
}

void SetAxes(int num_ranks, MeshConfig* mesh, ConfigErrors* errors) {
  if (!mesh->has_pp()) mesh->set_pp(1);
  if (!mesh->has_cp()) mesh->set_cp(1);
  if (!mesh->has_tp()) mesh->set_tp(1);
  if (!mesh->has_ep()) mesh->set_ep(1);
  const int64_t others = mesh->pp() * mesh->cp() * mesh->tp();
  const std::string product = absl::StrCat("pp ", mesh->pp(), " x cp ", mesh->cp(), " x tp ", mesh->tp());
  if (mesh->has_dp()) {
    if (others * mesh->dp() == num_ranks) return;
    errors->Add("mesh.dp", absl::StrCat(mesh->dp()),
                absl::StrCat("dp ", mesh->dp(), " x ", product, " makes ", others * mesh->dp(),
                             " ranks, but the job has ", num_ranks, "; start ", others * mesh->dp(),
                             " ranks, or leave dp unset and let the other axes' product divide ", num_ranks));
    return;
  }
  if (num_ranks % others != 0) {
    errors->Add("mesh.dp", "unset",
                absl::StrCat(product, " makes ", others, ", which does not divide the job's ", num_ranks,
                             " ranks; start a multiple of ", others, " ranks or use smaller axes"));
    return;
  }
  mesh->set_dp(num_ranks / others);
}

// Query heads and feed-forward columns are cut into tp equal parts; key and value heads too, or where they
// are fewer, several ranks share one. The vocabulary is padded instead.
void CheckTensorAxis(const ModelConfig& model, int64_t tp, ConfigErrors* errors) {
  const int64_t key_heads = model.num_key_value_heads();
  const std::string usable =
      DivisorsInWords(std::gcd(model.num_attention_heads(), model.intermediate_size()),
                      [key_heads](int64_t size) { return CanShareKeyHeads(key_heads, size); });
  const auto check = [&](const char* name, int64_t size, bool fits, const char* found) {
    if (fits) return;
    errors->Add("mesh.tp", absl::StrCat(tp), absl::StrCat(name, " ", size, " ", found, "; use ", usable));
  };
  const char* kIndivisible = "is not divisible by it";
  check("num_attention_heads", model.num_attention_heads(), Divides(tp, model.num_attention_heads()),
        kIndivisible);
  check("num_key_value_heads", key_heads, CanShareKeyHeads(key_heads, tp),
        "is neither a multiple nor a divisor of it");
  check("intermediate_size", model.intermediate_size(), Divides(tp, model.intermediate_size()), kIndivisible);
}

// Context parallelism by all-to-all: cp cuts the heads that tp leaves a rank. What tp cannot cut was
// reported.
void CheckHeads(const Config& config, ConfigErrors* errors) {
  const int64_t cp = config.mesh().cp(), tp = config.mesh().tp();
  const int64_t queries = config.model().num_attention_heads(), keys = config.model().num_key_value_heads();
  if (!Divides(tp, queries) || !CanShareKeyHeads(keys, tp)) return;
  const int64_t queries_left = queries / tp, keys_left = std::max<int64_t>(1, keys / tp);
  const std::string usable = DivisorsInWords(std::gcd(queries_left, keys_left));
  const auto check = [&](const char* name, int64_t size, int64_t left) {
    if (Divides(cp, left)) return;
    errors->Add(
        "mesh.cp", absl::StrCat(cp),
        absl::StrCat(name, " ", size, " is not divisible by mesh.cp x mesh.tp, ", cp * tp,
                     ", as context_form all_to_all needs; use ", usable, ", or parallel.context_form ring"));
  };
  check("num_attention_heads", queries, queries_left);
  check("num_key_value_heads", keys, keys_left);
}

// Experts are dealt out to the ranks of ep, which fold those of dp x cp.
void CheckExpertAxis(const Config& config, ConfigErrors* errors) {
  const int64_t ep = config.mesh().ep(), replicas = config.mesh().dp() * config.mesh().cp();
  const int64_t experts = config.model().num_local_experts();
  if (ep == 1) return;
  const std::string usable = DivisorsInWords(std::gcd(replicas, experts));
  if (replicas % ep != 0) {
    errors->Add("mesh.ep", absl::StrCat(ep),
                absl::StrCat("does not divide mesh.dp x mesh.cp, ", replicas, "; use ", usable));
  }
  if (experts % ep != 0) {
    errors->Add("mesh.ep", absl::StrCat(ep),
                absl::StrCat("does not divide model.num_local_experts ", experts, "; use ", usable));
  }
}

void SetMicroBatch(int64_t dp, TrainConfig* train, ConfigErrors* errors) {
  const int64_t global = train->global_batch();
  if (global % dp != 0) {
    errors->Add("train.global_batch", absl::StrCat(global),
                absl::StrCat("not divisible by mesh.dp ", dp, "; use a multiple of ", dp));
    return;
  }
  const int64_t share = global / dp;
  if (!train->has_micro_batch()) train->set_micro_batch(share);
  if (share % train->micro_batch() != 0) {
    errors->Add("train.micro_batch", absl::StrCat(train->micro_batch()),
                absl::StrCat("does not divide the ", share,
                             " sequences of one replica (train.global_batch / mesh.dp); use ",
                             DivisorsInWords(share)));
  }
}

// Context parallelism cuts the tokens of a micro-batch into cp equal parts, a ring each of these into two
// chunks; sequence parallelism cuts a part into tp.
void CheckTokens(const Config& config, ConfigErrors* errors) {
  const TrainConfig& train = config.train();
  const int64_t tokens = train.micro_batch() * train.sequence_length();
  const int64_t cp = config.mesh().cp(), tp = config.mesh().tp();
  const std::string found =
      absl::StrCat("the ", tokens, " tokens of a micro-batch (train.micro_batch ", train.micro_batch(),
                   " x train.sequence_length ", train.sequence_length(), ") are not divisible by ");
  if (tokens % cp != 0) {
    errors->Add("mesh.cp", absl::StrCat(cp), absl::StrCat(found, "it; change one of them"));
  } else if (cp > 1 && config.parallel().context_form() == "ring" && tokens % (2 * cp) != 0) {
    errors->Add(
        "mesh.cp", absl::StrCat(cp),
        absl::StrCat(found,
                     "2 x mesh.cp, as the chunks of context_form ring need; change one of them, or use ",
                     "parallel.context_form all_to_all"));
  } else if (config.parallel().sequence_parallel() && tokens / cp % tp != 0) {
    const std::string by_cp = cp > 1 ? absl::StrCat("mesh.cp ", cp, " x ") : std::string();
    errors->Add("parallel.sequence_parallel", "true",
                absl::StrCat(found, by_cp, "mesh.tp ", tp, "; change one of them, or use false"));
  }
}

// Every chunk of every stage has a block. A stage of zb-v has two chunks, whatever virtual_stages is.
void CheckLayers(const Config& config, ConfigErrors* errors) {
  const int64_t layers = config.model().num_hidden_layers(), stages = config.mesh().pp();
  const bool is_v = config.pipeline().schedule() == "zb-v";
  const int64_t chunks = is_v ? 2 : config.pipeline().virtual_stages();
  if (stages * chunks <= layers) return;
  const std::string each = chunks > 1 ? absl::StrCat(" of ", chunks, " chunks") : std::string();
  errors->Add("mesh.pp", absl::StrCat(stages),
              absl::StrCat("more stages", each, " than model.num_hidden_layers ", layers, "; use at most ",
                           layers / chunks, chunks > 1 ? ", or another pipeline.schedule" : ""));
}

}  // namespace

absl::Status ResolveMesh(Config* config, int num_ranks) {
  CHECK_GE(num_ranks, 1);
  Config resolved = *config;
  ConfigErrors errors;
  MeshConfig* mesh = resolved.mutable_mesh();
  SetAxes(num_ranks, mesh, &errors);
  CheckTensorAxis(resolved.model(), mesh->tp(), &errors);
  if (mesh->cp() > 1 && resolved.parallel().context_form() == "all_to_all") CheckHeads(resolved, &errors);
  if (mesh->has_dp()) CheckExpertAxis(resolved, &errors);
  CheckLayers(resolved, &errors);
  if (mesh->has_dp()) SetMicroBatch(mesh->dp(), resolved.mutable_train(), &errors);
  if (resolved.train().has_micro_batch()) CheckTokens(resolved, &errors);
  const absl::Status status = errors.ToStatus();
  if (status.ok()) *config = std::move(resolved);
  return status;
}

}  // namespace trireme
