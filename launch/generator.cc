#include "launch/generator.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "launch/checkpoint_state.h"
#include "launch/rank_plan.h"
#include "parallel/step_planner.h"
#include "runtime/alibi.h"
#include "runtime/passes/memory_plan.h"
#include "runtime/random.h"

namespace trireme {
namespace {

std::unique_ptr<Model> ModelWithoutDropout(const Config& config) {
  ModelConfig model = config.model();
  model.set_dropout(0);
  return CreateModel(model, static_cast<uint64_t>(config.train().seed()));
}

ChunkSpec SpecOf(const Config& config, const Model& model) {
  ChunkSpec spec;
  spec.purpose = ChunkSpec::Purpose::kGenerate;
  spec.end_block = model.num_blocks();
  spec.sequence_length = std::min(config.model().max_position_embeddings(), config.train().sequence_length());
  spec.precision.compute = PrecisionOf(config).wide();
  return spec;
}

}  // namespace

Generator::Generator(const Config& config, Device& device)
    : model_(ModelWithoutDropout(config)),
      spec_(SpecOf(config, *model_)),
      program_(RecordChunk(*model_, spec_)),
      plan_(PlanEvaluation({{program_.get()}, {}}, {{Work::kForward, 0, 0}}, 1)),
      device_(device) {
  AllocateParameters(device);
  const std::vector<MemoryPlan> memory = {PlanMemory(*program_, device)};
  Executor::Options options;
  options.channels.resize(kReductions);
  options.slots = device.Allocate(Executor::SlotBytes(plan_, memory));
  options.transient = device.Allocate(Executor::TransientBytes(memory));
  executor_ = std::make_unique<Executor>(plan_, memory, std::vector<Bindings>{parameters_}, device, options);

  const int64_t length = context();
  ids_.resize(length);
  lo_.resize(length);
  positions_.resize(length);
  token_index_.resize(length);
  if (model_->alibi_heads() > 0) slopes_ = AlibiSlopes(model_->alibi_heads());
  std::iota(positions_.begin(), positions_.end(), 0);
  std::iota(token_index_.begin(), token_index_.end(), 0);
  raw_logits_.resize(program_->value(program_->logits).size_bytes());
  logits_.resize(model_->vocabulary());
}

void Generator::AllocateParameters(Device& device) {
  parameters_.resize(program_->values.size(), nullptr);
  for (const ParameterGroup& group : program_->parameters) {
    parameters_[group.value] = device.Allocate(program_->value(group.value).size_bytes());
  }
}

std::vector<TensorSlice> Generator::ParameterSlices() {
  std::vector<TensorSlice> slices;
  for (const ParameterGroup& group : program_->parameters) {
    ParameterBox box;
    for (const Parameter& part : group.parts) {
      box.parameter = &part;
      box.num_dims = part.global_shape.num_dims();
      for (int dim = 0; dim < box.num_dims; ++dim) box.end[dim] = part.global_shape[dim];
      for (TensorSlice& slice : SlicesOf(box, parameters_[group.value], program_->value(group.value).dtype)) {
        slices.push_back(std::move(slice));
      }
      box.offset += part.padded_shape.num_elements();
    }
  }
  return slices;
}

void Generator::Fill(const std::vector<std::pair<ValueId, void*>>& inputs) {
  for (const auto& [id, address] : inputs) {
    if (address == nullptr) continue;
    const Value& value = program_->value(id);
    const void* from = value.name == "ids"         ? static_cast<const void*>(ids_.data())
                       : value.name == "positions" ? static_cast<const void*>(positions_.data())
                       : value.name == "lo"        ? static_cast<const void*>(lo_.data())
                       : value.name == "slopes"    ? static_cast<const void*>(slopes_.data())
                       : value.name == "rows"      ? static_cast<const void*>(&row_)
                                                   : static_cast<const void*>(token_index_.data());
    device_.CopyToDevice(address, from, value.size_bytes(), 0);
  }
}

absl::Span<const float> Generator::Logits(absl::Span<const int32_t> tokens) {
  CHECK(!tokens.empty());
  const size_t seen = std::min<size_t>(tokens.size(), context());
  // What stands behind the last token is never looked at: attention is causal.
  std::copy(tokens.end() - seen, tokens.end(), ids_.begin());
  std::fill(ids_.begin() + seen, ids_.end(), 0);
  row_ = static_cast<int32_t>(seen) - 1;
  executor_->Run([this](int, int, const auto& inputs) { Fill(inputs); }, nullptr);

  const Value& value = program_->value(program_->logits);
  device_.CopyToHost(raw_logits_.data(), executor_->Address(0, program_->logits, 0), value.size_bytes(), 0);
  device_.Synchronize(0);
  if (value.dtype == DType::kF64) {
    std::copy_n(reinterpret_cast<const double*>(raw_logits_.data()), logits_.size(), logits_.begin());
  } else {
    CHECK(value.dtype == DType::kF32) << Name(value.dtype);
    std::copy_n(reinterpret_cast<const float*>(raw_logits_.data()), logits_.size(), logits_.begin());
  }
  return logits_;
}

absl::StatusOr<int32_t> ChooseToken(absl::Span<const float> logits, const Sampling& sampling,
                                    int64_t position) {
  CHECK(!logits.empty());
  if (!std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); })) {
    return absl::DataLossError(
        "the model's output is not finite: its training has diverged; use an earlier checkpoint");
  }
  if (sampling.temperature == 0) {
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  if (sampling.top_k > 0 && sampling.top_k < ids.size()) {
    std::partial_sort(ids.begin(), ids.begin() + sampling.top_k, ids.end(), [&](int32_t a, int32_t b) {
      return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    });
    ids.resize(sampling.top_k);
  }
  const double highest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> sums;  // of the weights so far
  double sum = 0;
  for (int32_t id : ids) sums.push_back(sum += std::exp((logits[id] - highest) / sampling.temperature));
  const Philox4 words = RandomStream(sampling.seed, "generate").Words(static_cast<uint64_t>(position));
  const double draw = RandomStream::Uniform(words[0], words[1]) * sum;
  const auto chosen = std::upper_bound(sums.begin(), sums.end(), draw);
  return ids[std::min<size_t>(chosen - sums.begin(), ids.size() - 1)];
}

}  // namespace trireme
