#include "launch/trainer.h"

#include <glog/logging.h>

#include <algorithm>

namespace trireme {

Trainer::Trainer(RankPlan& plan, Mesh& mesh, Mesh& device_mesh, Device& device)
    : plan_(plan),
      mesh_(mesh),
      device_mesh_(device_mesh),
      device_(device),
      store_(*plan.chunk, plan.buckets, *plan.update, plan.update_options) {
  store_.Allocate(device);
  slots_ = device.Allocate(plan.slot_bytes);
  transient_ = device.Allocate(plan.transient_bytes);
  step_ = MakeExecutor(plan.step, plan.step_memory, {store_.BindChunk(*plan.chunk), store_.BindUpdate()});
  evaluation_ =
      MakeExecutor(plan.evaluation, plan.evaluation_memory, {store_.BindChunk(*plan.evaluation_chunk)});

  const BatchGeometry& batch = plan.batch;
  losses_ = static_cast<double*>(
      device.AllocateHost(batch.num_micro_batches * static_cast<int64_t>(sizeof(double))));
  factors_ = static_cast<double*>(device.AllocateHost(kNumStepFactors * sizeof(double)));
  loss_table_.resize(batch.num_micro_batches * batch.num_replicas);
  const int64_t tokens = batch.micro_batch * batch.sequence_length;
  for (int64_t t = 0; t < tokens; ++t) {
    positions_.push_back(static_cast<int32_t>(t % batch.sequence_length));
    lo_.push_back(static_cast<int32_t>(t - t % batch.sequence_length));
  }
  token_index_.resize(tokens);
}

std::unique_ptr<Executor> Trainer::MakeExecutor(const StepPlan& step, const std::vector<MemoryPlan>& memory,
                                                std::vector<Bindings> bindings) {
  Executor::Options options = {.mesh = plan_.mesh,
                               .coordinate = plan_.coordinate,
                               .slots = slots_,
                               .transient = transient_,
                               .profile = &profile_};
  for (Axis axis : kAllAxes) {
    if (plan_.mesh[axis] > 1) options.axes[static_cast<int>(axis)] = &device_mesh_.along(axis);
  }
  options.channels.resize(kReductions);
  options.channels[kFromPrevious] = device_mesh_.activation_from_previous().communicator;
  options.channels[kToNext] = device_mesh_.activation_to_next().communicator;
  options.channels[kFromNext] = device_mesh_.gradient_from_next().communicator;
  options.channels[kToPrevious] = device_mesh_.gradient_to_previous().communicator;
  options.channels[kHomes] = device_mesh_.embedding_homes();
  options.channels[kWorld] = &device_mesh_.world();
  for (AxisSet axes : ReductionGroups(plan_.buckets)) options.channels.push_back(&device_mesh_.along(axes));
  return std::make_unique<Executor>(step, memory, std::move(bindings), device_, std::move(options));
}

void Trainer::Initialize(uint64_t seed) {
  store_.Initialize(seed);
}

void Trainer::GatherParameters() {
  store_.MakeComputeCopies();
  if (plan_.update_options.zero_stage == 0) return;
  for (int b = 0; b < store_.buckets().size(); ++b) {
    const Bucket& bucket = store_.buckets()[b];
    char* parameters = static_cast<char*>(store_.parameters(b));
    device_mesh_.along(bucket.reduced_over)
        .AllGather(parameters + store_.owned_begin(b) * SizeOf(bucket.compute), parameters,
                   store_.owned_size(b), bucket.compute);
  }
  device_.Synchronize(0);
}

void Trainer::Fill(const Program& program, const Samples& samples,
                   const std::vector<std::pair<ValueId, void*>>& inputs) {
  const int64_t length = plan_.batch.sequence_length;
  for (int64_t t = 0; t < token_index_.size(); ++t) {
    token_index_[t] = samples.sample_ids[t / length] * length + t % length;
  }
  for (const auto& [id, address] : inputs) {
    if (address == nullptr) continue;
    const Value& value = program.value(id);
    const void* from = value.name == "ids"                ? static_cast<const void*>(samples.inputs)
                       : value.name == "targets"          ? static_cast<const void*>(samples.labels)
                       : value.name == "positions"        ? static_cast<const void*>(positions_.data())
                       : value.name == "stream_positions" ? static_cast<const void*>(positions_.data())
                       : value.name == "lo"               ? static_cast<const void*>(lo_.data())
                                                          : static_cast<const void*>(token_index_.data());
    // Of what tp shards, this rank's rows.
    const int64_t share = value.layout[Axis::kTp].is_shard() ? plan_.coordinate[Axis::kTp] : 0;
    device_.CopyToDevice(address, static_cast<const char*>(from) + share * value.size_bytes(),
                         value.size_bytes(), 0);
  }
}

StepResult Trainer::Step(double learning_rate, const ReadSamples& read) {
  double inputs[kNumStepInputs];
  inputs[kLearningRate] = learning_rate;
  inputs[kTokens] = static_cast<double>(plan_.batch.tokens());
  device_.CopyToDevice(store_.step_inputs(), inputs, sizeof(inputs), 0);
  step_->Run([&](int m, int, const auto& addresses) { Fill(*plan_.chunk, read(m), addresses); }, losses_);
  StepResult result;
  result.loss = LossSum() / static_cast<double>(plan_.batch.tokens());
  device_.CopyToHost(factors_, store_.step_factors(), kNumStepFactors * sizeof(double), 0);
  device_.Synchronize(0);
  result.gradient_norm = factors_[kGradientNorm];
  result.applied = factors_[kApply] != 0;
  return result;
}

double Trainer::EvaluateSum(const ReadSamples& read) {
  evaluation_->Run(
      [&](int m, int, const auto& addresses) { Fill(*plan_.evaluation_chunk, read(m), addresses); }, losses_);
  return LossSum();
}

// Each micro-batch's loss has one writer, so the sum over ranks only moves it; then all ranks add in the
// order of the micro-batches of the global batch. The bits depend on the size of a micro-batch, not on how
// many replicas share them.
double Trainer::LossSum() {
  const BatchGeometry& batch = plan_.batch;
  std::fill(loss_table_.begin(), loss_table_.end(), 0.0);
  const bool has_loss = plan_.chunk->loss_sum != kNoValue;
  if (has_loss && plan_.coordinate[Axis::kTp] == 0) {
    for (int64_t m = 0; m < batch.num_micro_batches; ++m) {
      loss_table_[m * batch.num_replicas + batch.replica] = losses_[m];
    }
  }
  mesh_.world().AllReduce(loss_table_.data(), loss_table_.data(), static_cast<int64_t>(loss_table_.size()),
                          DType::kF64, ReduceOp::kSum);
  double sum = 0;
  for (double loss : loss_table_) sum += loss;
  return sum;
}

}  // namespace trireme
