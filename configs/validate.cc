#include "configs/validate.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "configs/fields.h"
#include "configs/limits.h"

namespace trireme {
namespace {

struct Required {
  const char* field;
  const char* remedy;
};

constexpr Required kRequired[] = {
    {"model.architecture", "set it to gpt2, llama, mixtral or bloom"},
    {"model.hidden_size", "set the width of the residual stream"},
    {"model.num_hidden_layers", "set the number of blocks"},
    {"model.num_attention_heads", "set a divisor of model.hidden_size"},
    {"model.vocab_size", "set the tokenizer's number of ids (257 for bytes)"},
    {"train.steps", "set the last step of the run"},
    {"train.sequence_length", "set the tokens of a sequence"},
    {"train.global_batch", "set the sequences of a step, over the whole mesh"},
    {"optimizer.learning_rate", "set the peak, for example 3e-4"},
};

struct IntegerRange {
  const char* field;
  int64_t min;
  int64_t max;
};

constexpr IntegerRange kIntegerRanges[] = {
    {"model.hidden_size", 1, kMaxWidth},
    {"model.intermediate_size", 1, 4 * kMaxWidth},
    {"model.num_hidden_layers", 1, 10000},
    {"model.num_attention_heads", 1, kMaxWidth},
    {"model.num_key_value_heads", 1, kMaxWidth},
    {"model.vocab_size", 1, int64_t{1} << 30},
    {"model.max_position_embeddings", 1, kMaxSequenceLength},
    {"model.num_local_experts", 1, kMaxExperts},
    {"model.num_experts_per_tok", 1, kMaxExperts},
    {"model.num_shared_experts", 0, kMaxExperts},
    {"mesh.pp", 1, kMaxAxisSize},
    {"mesh.dp", 1, kMaxAxisSize},
    {"mesh.cp", 1, kMaxAxisSize},
    {"mesh.tp", 1, kMaxAxisSize},
    {"mesh.ep", 1, kMaxAxisSize},
    {"parallel.zero_stage", 0, 3},
    {"pipeline.virtual_stages", 1, 1024},
    {"train.steps", 0, kMaxSteps},
    {"train.sequence_length", 1, kMaxSequenceLength},
    {"train.global_batch", 1, kMaxBatch},
    {"train.micro_batch", 1, kMaxBatch},
    {"train.seed", 0, INT64_MAX},
    {"learning_rate_schedule.warmup_steps", 0, kMaxSteps},
    {"learning_rate_schedule.decay_steps", 0, kMaxSteps},
    {"checkpoint.interval", 0, kMaxSteps},
    {"checkpoint.keep", 1, 1000000},
    {"evaluation.interval", 0, kMaxSteps},
    {"evaluation.batches", 0, kMaxSteps},
};

struct NumberRange {
  const char* field;
  double min;
  double max;
  bool below_max = false;  // max itself is refused
};

// The smallest epsilons and rates are still normal numbers in fp32.
constexpr NumberRange kNumberRanges[] = {
    {"model.rope_theta", 1, 1e12},
    {"model.rms_norm_eps", 1e-30, 1},
    {"model.layer_norm_eps", 1e-30, 1},
    {"model.dropout", 0, 1, true},
    {"model.router_aux_loss_coef", 0, 1e6},
    {"model.router_z_loss_coef", 0, 1e6},
    {"model.expert_capacity_factor", 0, 1e6},
    {"train.z_loss_coef", 0, 1e6},
    {"optimizer.learning_rate", 1e-30, 100},
    {"optimizer.beta1", 0, 1, true},
    {"optimizer.beta2", 0, 1, true},
    {"optimizer.epsilon", 1e-30, 1},
    {"optimizer.weight_decay", 0, 100},
    {"optimizer.clip_norm", 0, 1e6},
    {"learning_rate_schedule.min_learning_rate_ratio", 0, 1},
};

struct Choices {
  const char* field;
  std::initializer_list<const char*> values;
};

const Choices kChoices[] = {
    {"model.architecture", {"gpt2", "llama", "mixtral", "bloom"}},
    {"parallel.context_form", {"ring", "all_to_all"}},
    {"parallel.recompute", {"none", "selective", "full"}},
    {"parallel.transport", {"auto", "nccl", "host"}},
    {"pipeline.schedule", {"1f1b", "gpipe", "interleaved", "zb-h1", "zb-v"}},
    {"train.dtype", {"fp32", "bf16", "fp64"}},
    {"train.device", {"auto", "cpu", "cuda"}},
    {"learning_rate_schedule.kind", {"constant", "cosine", "linear", "wsd"}},
};

// One pass over the rules: the fields, and where errors go.
class Checker {
 public:
  Checker(const Config& config, ConfigErrors* errors) : config_(config), errors_(*errors) {}

  void CheckFields();
  void CheckModel();
  void CheckExperts();
  void CheckPipeline();
  void CheckRun();
  void CheckNumerics();

 private:
  void CheckRanges();
  void CheckStrings();

  // Whether a field has a value without an error so far.
  bool Good(const char* field) const { return IsSet(config_, field) && !errors_.Has(field); }
  bool Good(std::initializer_list<const char*> fields) const {
    for (const char* field : fields) {
      if (!Good(field)) return false;
    }
    return true;
  }

  template <typename... Parts>
  void Add(const char* field, const Parts&... problem) {
    errors_.Add(field, IsSet(config_, field) ? TextAt(config_, field) : "unset", absl::StrCat(problem...));
  }

  const Config& config_;
  ConfigErrors& errors_;
};

void Checker::CheckRanges() {
  for (const IntegerRange& range : kIntegerRanges) {
    if (!Good(range.field)) continue;
    const int64_t value = IntegerAt(config_, range.field);
    if (value >= range.min && value <= range.max) continue;
    Add(range.field, "out of range; use a whole number from ", range.min, " to ", range.max);
  }
  for (const NumberRange& range : kNumberRanges) {
    if (!Good(range.field)) continue;
    // Written so that NaN, which compares false with everything, is refused.
    const double value = NumberAt(config_, range.field);
    if (value >= range.min && value <= range.max && !(range.below_max && value == range.max)) continue;
    Add(range.field, "out of range; use a number from ", range.min, range.below_max ? " to below " : " to ",
        range.max);
  }
}

void Checker::CheckStrings() {
  for (const Choices& choices : kChoices) {
    if (!Good(choices.field)) continue;
    const std::vector<std::string> values(choices.values.begin(), choices.values.end());
    const std::string value = StringAt(config_, choices.field);
    if (std::find(values.begin(), values.end(), value) != values.end()) continue;
    Add(choices.field, "no such choice; use ", absl::StrJoin(values, ", "));
  }
  if (Good("train.gemm_choices") && config_.train().gemm_choices().empty()) {
    Add("train.gemm_choices", "empty; use auto, off or the name of a file");
  }
  for (const std::string& field : AllFields()) {
    if (!IsString(field) || !Good(field.c_str())) continue;
    if (StringAt(config_, field).find('\0') == std::string::npos) continue;
    Add(field.c_str(), "holds a zero byte, which no path may; take it out");
  }
}

void Checker::CheckFields() {
  for (const Required& required : kRequired) {
    if (!IsSet(config_, required.field) && !errors_.Has(required.field)) {
      Add(required.field, "required; ", required.remedy);
    }
  }
  CheckRanges();
  CheckStrings();
}

void Checker::CheckModel() {
  const ModelConfig& model = config_.model();
  const bool gpt2 = model.architecture() == "gpt2", bloom = model.architecture() == "bloom";
  const bool llama = model.architecture() == "llama" || model.architecture() == "mixtral";
  if (llama && !model.has_intermediate_size() && !errors_.Has("model.intermediate_size")) {
    Add("model.intermediate_size", "required for ", model.architecture(),
        "; set the width of its feed-forward block");
  }
  if (bloom && Good({"model.hidden_size", "model.intermediate_size"}) &&
      model.intermediate_size() != 4 * model.hidden_size()) {
    Add("model.intermediate_size", "bloom's is 4 x model.hidden_size, ", 4 * model.hidden_size(),
        "; use that, or leave it unset");
  }
  if (gpt2 && !model.has_max_position_embeddings() && !errors_.Has("model.max_position_embeddings")) {
    Add("model.max_position_embeddings", "required for gpt2; set the length of its position table");
  }
  if (Good({"model.hidden_size", "model.num_attention_heads"})) {
    const int64_t heads = model.num_attention_heads();
    if (model.hidden_size() % heads != 0) {
      Add("model.hidden_size", "not divisible by model.num_attention_heads ", heads, "; use a multiple of ",
          heads);
    } else if (llama && (model.hidden_size() / heads) % 2 != 0) {
      Add("model.hidden_size", "gives heads of odd size ", model.hidden_size() / heads,
          ", which rotary positions cannot pair; use a multiple of ", 2 * heads);
    }
  }
  if (Good({"model.num_attention_heads", "model.num_key_value_heads"})) {
    const int64_t heads = model.num_attention_heads();
    if ((gpt2 || bloom) && model.num_key_value_heads() != heads) {
      Add("model.num_key_value_heads", model.architecture(),
          " has no grouped queries; use model.num_attention_heads, ", heads, ", or leave it unset");
    } else if (heads % model.num_key_value_heads() != 0) {
      Add("model.num_key_value_heads", "does not divide model.num_attention_heads ", heads,
          "; use one of its divisors");
    }
  }
}

void Checker::CheckExperts() {
  if (!Good("model.architecture")) return;
  if (config_.model().architecture() != "mixtral") {
    for (const char* field :
         {"model.num_local_experts", "model.num_experts_per_tok", "model.num_shared_experts",
          "model.expert_capacity_factor", "model.router_aux_loss_coef", "model.router_z_loss_coef"}) {
      if (Good(field)) Add(field, config_.model().architecture(), " has no experts; leave it unset");
    }
    if (Good("mesh.ep") && config_.mesh().ep() > 1) {
      Add("mesh.ep", config_.model().architecture(), " has no experts; use 1");
    }
    return;
  }
  if (Good({"model.num_local_experts", "model.num_experts_per_tok"}) &&
      config_.model().num_experts_per_tok() > config_.model().num_local_experts()) {
    Add("model.num_experts_per_tok", "more than model.num_local_experts ",
        config_.model().num_local_experts(), "; use at most that");
  }
}

void Checker::CheckPipeline() {
  if (!Good({"pipeline.schedule", "pipeline.virtual_stages"})) return;
  const std::string& schedule = config_.pipeline().schedule();
  const int64_t chunks = config_.pipeline().virtual_stages();
  if (schedule == "interleaved" && chunks < 2) {
    Add("pipeline.virtual_stages",
        "schedule interleaved takes turns between chunks of a stage; use 2 or more");
  } else if (schedule != "interleaved" && chunks > 1) {
    Add("pipeline.virtual_stages", "schedule ", schedule,
        " does not choose its chunks; use 1, or pipeline.schedule interleaved");
  }
}

void Checker::CheckRun() {
  const TrainConfig& train = config_.train();
  if (Good({"train.sequence_length", "model.max_position_embeddings"})) {
    const int64_t longest = config_.model().max_position_embeddings();
    if (train.sequence_length() > longest) {
      Add("train.sequence_length", "longer than model.max_position_embeddings ", longest, "; use at most ",
          longest);
    }
  }
  if (Good({"train.micro_batch", "train.global_batch"}) && train.global_batch() % train.micro_batch() != 0) {
    Add("train.micro_batch", "does not divide train.global_batch ", train.global_batch(),
        "; use one of its divisors, or leave it unset");
  }
  if (Good({"optimizer.stochastic_rounding", "train.dtype"}) && config_.optimizer().stochastic_rounding() &&
      train.dtype() != "bf16") {
    Add("optimizer.stochastic_rounding", "rounds bf16 parameters, and train.dtype is ", train.dtype(),
        "; use train.dtype bf16, or false");
  }
  if (Good({"parallel.transport", "train.device"}) && config_.parallel().transport() == "nccl" &&
      train.device() == "cpu") {
    Add("parallel.transport", "NCCL joins GPUs, and train.device is cpu; use auto, or train.device cuda");
  }
  const LearningRateScheduleConfig& schedule = config_.learning_rate_schedule();
  const bool decays_by_step = schedule.kind() == "cosine" || schedule.kind() == "linear";
  if (decays_by_step && Good({"learning_rate_schedule.decay_steps", "learning_rate_schedule.warmup_steps"}) &&
      schedule.decay_steps() < schedule.warmup_steps()) {
    Add("learning_rate_schedule.decay_steps", "the decay ends before the warm-up of ",
        schedule.warmup_steps(), " steps; use at least that, or leave it unset");
  }
}

// Sums are exact over micro-batches and ranks; within a micro-batch they are of floats, cut alike on every
// mesh with the same cp, tp and ep.
void Checker::CheckNumerics() {
  if (!Good("numerics.mesh_invariant_sum") || !config_.numerics().mesh_invariant_sum()) return;
  if (!IsSet(config_, "train.micro_batch") && !errors_.Has("train.micro_batch")) {
    Add("train.micro_batch", "would follow mesh.dp, where numerics.mesh_invariant_sum needs one size on ",
        "every mesh; set a divisor of train.global_batch");
  }
}

}  // namespace

void CollectErrors(const Config& config, ConfigErrors* errors) {
  Checker checker(config, errors);
  checker.CheckFields();
  checker.CheckModel();
  checker.CheckExperts();
  checker.CheckPipeline();
  checker.CheckRun();
  checker.CheckNumerics();
}

absl::Status Validate(const Config& config) {
  ConfigErrors errors;
  CollectErrors(config, &errors);
  return errors.ToStatus();
}

}  // namespace trireme
