#include "configs/defaults.h"

#include <algorithm>
#include <cstdint>

#include "configs/fields.h"
#include "configs/limits.h"
#include "glog/logging.h"

namespace trireme {
namespace {

struct Default {
  const char* field;
  const char* value;
};

constexpr Default kDefaults[] = {
    {"model.rope_theta", "10000"},
    {"model.rms_norm_eps", "1e-5"},
    {"model.layer_norm_eps", "1e-5"},
    {"model.dropout", "0"},
    {"parallel.zero_stage", "1"},
    {"parallel.sequence_parallel", "false"},
    {"parallel.context_form", "ring"},
    {"parallel.transport", "auto"},
    {"parallel.recompute", "none"},
    {"pipeline.schedule", "1f1b"},
    {"pipeline.virtual_stages", "1"},
    {"train.seed", "1"},
    {"train.dtype", "fp32"},
    {"train.device", "auto"},
    {"train.z_loss_coef", "0"},
    {"train.cuda_graphs", "true"},
    {"train.gemm_choices", "auto"},
    {"optimizer.beta1", "0.9"},
    {"optimizer.beta2", "0.95"},
    {"optimizer.epsilon", "1e-8"},
    {"optimizer.weight_decay", "0.1"},
    {"optimizer.clip_norm", "1"},
    {"optimizer.stochastic_rounding", "false"},
    {"learning_rate_schedule.kind", "cosine"},
    {"learning_rate_schedule.warmup_steps", "0"},
    {"learning_rate_schedule.min_learning_rate_ratio", "0"},
    {"checkpoint.interval", "0"},
    {"checkpoint.keep", "2"},
    {"numerics.mesh_invariant_sum", "false"},
    {"evaluation.interval", "0"},
    {"evaluation.batches", "0"},
};

// A default that follows from another field waits until that one is right: one mistake, one message.
bool Within(int64_t value, int64_t min, int64_t max) {
  return value >= min && value <= max;
}

void FillModel(const TrainConfig& train, ModelConfig* model) {
  const bool gpt2 = model->architecture() == "gpt2", bloom = model->architecture() == "bloom";
  const bool llama = model->architecture() == "llama" || model->architecture() == "mixtral";
  if (model->architecture() == "mixtral") {
    if (!model->has_num_local_experts()) model->set_num_local_experts(8);
    if (!model->has_num_experts_per_tok()) model->set_num_experts_per_tok(2);
    if (!model->has_num_shared_experts()) model->set_num_shared_experts(0);
    if (!model->has_expert_capacity_factor()) model->set_expert_capacity_factor(0);
    if (!model->has_router_aux_loss_coef()) model->set_router_aux_loss_coef(0.001);
    if (!model->has_router_z_loss_coef()) model->set_router_z_loss_coef(0);
  }
  if (!model->has_num_key_value_heads() && Within(model->num_attention_heads(), 1, kMaxWidth)) {
    model->set_num_key_value_heads(model->num_attention_heads());
  }
  if (!model->has_intermediate_size() && (gpt2 || bloom) && Within(model->hidden_size(), 1, kMaxWidth)) {
    model->set_intermediate_size(4 * model->hidden_size());
  }
  if (!model->has_max_position_embeddings() && (llama || bloom) &&
      Within(train.sequence_length(), 1, kMaxSequenceLength)) {
    model->set_max_position_embeddings(train.sequence_length());
  }
  if (!model->has_tie_word_embeddings() && (gpt2 || llama || bloom)) model->set_tie_word_embeddings(!llama);
}

// A run too short for its warm-up ends in it: the decay then never starts.
void FillSchedule(const TrainConfig& train, LearningRateScheduleConfig* schedule) {
  if (schedule->has_decay_steps() || !train.has_steps()) return;
  if (!Within(train.steps(), 0, kMaxSteps) || !Within(schedule->warmup_steps(), 0, kMaxSteps)) return;
  const int64_t whole_run = std::max(train.steps(), schedule->warmup_steps());
  schedule->set_decay_steps(schedule->kind() == "wsd" ? (train.steps() + 9) / 10 : whole_run);
}

}  // namespace

void FillDefaults(Config* config) {
  for (const Default& d : kDefaults) {
    if (IsSet(*config, d.field)) continue;
    const absl::Status status = SetField(config, d.field, d.value);
    CHECK(status.ok()) << d.field << ": " << status;
  }
  FillModel(config->train(), config->mutable_model());
  FillSchedule(config->train(), config->mutable_learning_rate_schedule());
}

}  // namespace trireme
