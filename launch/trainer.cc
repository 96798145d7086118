#include "launch/trainer.h"

#include <glog/logging.h>

#include <algorithm>

#include "runtime/ops/cross_entropy.h"

namespace trireme {
namespace {

std::vector<const Program*> Pointers(const std::vector<std::unique_ptr<Program>>& programs) {
  std::vector<const Program*> pointers;
  for (const std::unique_ptr<Program>& program : programs) pointers.push_back(program.get());
  return pointers;
}

}  // namespace

Trainer::Trainer(RankPlan& plan, Mesh& mesh, Mesh& device_mesh, Device& device)
    : plan_(plan),
      mesh_(mesh),
      device_mesh_(device_mesh),
      device_(device),
      store_(Pointers(plan.chunks), plan.buckets, *plan.update, plan.update_options, plan.passing) {
  store_.Allocate(device);
  slots_ = device.Allocate(plan.slot_bytes);
  transient_ = device.Allocate(plan.transient_bytes);
  dropped_ = static_cast<int64_t*>(device.Allocate(sizeof(int64_t)));
  dropped_on_host_ = static_cast<int64_t*>(device.AllocateHost(sizeof(int64_t)));
  std::vector<Bindings> of_step, of_evaluation;
  for (const auto& chunk : plan.chunks) {
    of_step.push_back(store_.BindChunk(*chunk));
    if (chunk->dropped_choices != kNoValue) of_step.back()[chunk->dropped_choices] = dropped_;
  }
  for (const auto& chunk : plan.evaluation_chunks) of_evaluation.push_back(store_.BindChunk(*chunk));
  for (std::vector<Bindings>* bindings : {&of_step, &of_evaluation}) {
    bindings->push_back(store_.BindUpdate());
  }
  step_ = MakeExecutor(plan.step, plan.step_memory, std::move(of_step));
  evaluation_ = MakeExecutor(plan.evaluation, plan.evaluation_memory, std::move(of_evaluation));

  const BatchGeometry& batch = plan.batch;
  losses_ = static_cast<double*>(device.AllocateHost(batch.num_micro_batches * plan.num_loss_terms *
                                                     static_cast<int64_t>(sizeof(double))));
  factors_ = static_cast<double*>(device.AllocateHost(kNumStepFactors * sizeof(double)));
  loss_table_.resize(batch.num_micro_batches * batch.num_replicas * plan.mesh[Axis::kCp]);
  const int64_t tokens = batch.micro_batch * batch.sequence_length;
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t in_stream =
        batch.order.StreamIndex(t / batch.order.tokens_here(), t % batch.order.tokens_here());
    in_stream_.push_back(in_stream);
    positions_.push_back(static_cast<int32_t>(in_stream % batch.sequence_length));
    lo_.push_back(static_cast<int32_t>(t - t % batch.sequence_length));
  }
  spans_ = RingSpans(lo_, batch.order, plan.coordinate[Axis::kCp]);
  token_index_.resize(tokens);
  const KeptSamples room = {std::vector<int32_t>(tokens), std::vector<int32_t>(tokens),
                            std::vector<int64_t>(batch.micro_batch)};
  kept_.assign(batch.num_micro_batches, room);
}

std::unique_ptr<Executor> Trainer::MakeExecutor(const StepPlan& step, const std::vector<MemoryPlan>& memory,
                                                std::vector<Bindings> bindings) {
  Executor::Options options = {.mesh = plan_.mesh,
                               .coordinate = plan_.coordinate,
                               .slots = slots_,
                               .transient = transient_,
                               .profile = &profile_};
  for (Axis axis : {Axis::kDp, Axis::kCp, Axis::kTp, Axis::kEp}) {
    if (plan_.mesh[axis] > 1) options.axes[static_cast<int>(axis)] = &device_mesh_.along(axis);
  }
  options.channels.resize(kReductions);
  for (const bool turned : {false, true}) {
    Communicator** const channels = &options.channels[turned ? kTurned : 0];
    channels[kFromPrevious] = device_mesh_.activation_from_previous(turned).communicator;
    channels[kToNext] = device_mesh_.activation_to_next(turned).communicator;
    channels[kFromNext] = device_mesh_.gradient_from_next(turned).communicator;
    channels[kToPrevious] = device_mesh_.gradient_to_previous(turned).communicator;
  }
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
    if (store_.shards_parameters(b)) continue;
    const Bucket& bucket = store_.buckets()[b];
    device_mesh_.along(bucket.reduced_over)
        .AllGather(store_.owned_parameters(b), store_.parameters(b), store_.owned_size(b), bucket.compute);
  }
  device_.Synchronize(0);
}

void Trainer::Run(Executor& executor, const StepPlan& step, const ReadSamples& read, Timeline* timeline) {
  num_kept_ = 0;
  executor.Run(
      [&](int m, int program, const auto& inputs) { Fill(*step.programs[program], Keep(m, read), inputs); },
      losses_, timeline);
}

// Chunks come to the micro-batches in orders of their own, and to each micro-batch again.
const Trainer::KeptSamples& Trainer::Keep(int micro_batch, const ReadSamples& read) {
  for (; num_kept_ <= micro_batch; ++num_kept_) {
    const Samples samples = read(num_kept_);
    KeptSamples& kept = kept_[num_kept_];
    for (size_t t = 0; t < in_stream_.size(); ++t) {
      kept.inputs[t] = samples.inputs[in_stream_[t]];
      kept.labels[t] = samples.labels[in_stream_[t]];
    }
    std::copy_n(samples.sample_ids, kept.sample_ids.size(), kept.sample_ids.begin());
  }
  return kept_[micro_batch];
}

void Trainer::Fill(const Program& program, const KeptSamples& samples,
                   const std::vector<std::pair<ValueId, void*>>& inputs) {
  const int64_t length = plan_.batch.sequence_length;
  for (int64_t t = 0; t < token_index_.size(); ++t) {
    const int64_t in_stream = in_stream_[t];
    token_index_[t] = samples.sample_ids[in_stream / length] * length + in_stream % length;
  }
  for (const auto& [id, address] : inputs) {
    if (address == nullptr) continue;
    const Value& value = program.value(id);
    const void* from = value.name == "ids"                ? static_cast<const void*>(samples.inputs.data())
                       : value.name == "targets"          ? static_cast<const void*>(samples.labels.data())
                       : value.name == "positions"        ? static_cast<const void*>(positions_.data())
                       : value.name == "stream_positions" ? static_cast<const void*>(positions_.data())
                       : value.name == "lo"               ? static_cast<const void*>(lo_.data())
                       : value.name == "spans"            ? static_cast<const void*>(spans_.data())
                                                          : static_cast<const void*>(token_index_.data());
    // Of what cp and tp shard, this rank's rows: cp's shares follow each other, each of so many of tp's.
    int64_t share = 0;
    for (Axis axis : {Axis::kCp, Axis::kTp}) {
      if (value.layout[axis].is_shard()) share = share * plan_.mesh[axis] + plan_.coordinate[axis];
    }
    device_.CopyToDevice(address, static_cast<const char*>(from) + share * value.size_bytes(),
                         value.size_bytes(), 0);
  }
}

StepResult Trainer::Step(double learning_rate, const ReadSamples& read, Timeline* timeline) {
  double inputs[kNumStepInputs];
  inputs[kLearningRate] = learning_rate;
  inputs[kTokens] = static_cast<double>(plan_.batch.tokens());
  device_.CopyToDevice(store_.step_inputs(), inputs, sizeof(inputs), 0);
  const int64_t none = 0;
  device_.CopyToDevice(dropped_, &none, sizeof(none), 0);
  Run(*step_, plan_.step, read, timeline);
  StepResult result;
  const auto tokens = static_cast<double>(plan_.batch.tokens());
  result.loss = LossSum(plan_.num_loss_terms, kCrossEntropyTerm) / tokens;
  if (plan_.num_loss_terms > 1) result.z_loss = LossSum(plan_.num_loss_terms, kZLossTerm) / tokens;
  device_.CopyToHost(factors_, store_.step_factors(), kNumStepFactors * sizeof(double), 0);
  device_.CopyToHost(dropped_on_host_, dropped_, sizeof(*dropped_), 0);
  device_.Synchronize(0);
  result.dropped_choices = DroppedChoices();
  result.gradient_norm = factors_[kGradientNorm];
  result.applied = factors_[kApply] != 0;
  return result;
}

// Ranks of tp have counted the same ones.
int64_t Trainer::DroppedChoices() {
  if (plan_.num_limited_choices == 0) return 0;
  int64_t dropped = plan_.coordinate[Axis::kTp] == 0 ? *dropped_on_host_ : 0;
  mesh_.world().AllReduce(&dropped, &dropped, 1, DType::kI64, ReduceOp::kSum);
  return dropped;
}

double Trainer::EvaluateSum(const ReadSamples& read) {
  Run(*evaluation_, plan_.evaluation, read);
  return LossSum(1, kCrossEntropyTerm);
}

// Each rank's share of a micro-batch's loss has one writer, so the sum over ranks only moves it; then all
// ranks add in the order of the micro-batches of the global batch. The bits depend on the size of a
// micro-batch, and on cp, not on how many replicas share them.
double Trainer::LossSum(int64_t num_terms, int64_t term) {
  const BatchGeometry& batch = plan_.batch;
  const int64_t cp = plan_.mesh[Axis::kCp];
  std::fill(loss_table_.begin(), loss_table_.end(), 0.0);
  if (plan_.has_loss() && plan_.coordinate[Axis::kTp] == 0) {
    for (int64_t m = 0; m < batch.num_micro_batches; ++m) {
      loss_table_[(m * batch.num_replicas + batch.replica) * cp + plan_.coordinate[Axis::kCp]] =
          losses_[m * num_terms + term];
    }
  }
  mesh_.world().AllReduce(loss_table_.data(), loss_table_.data(), static_cast<int64_t>(loss_table_.size()),
                          DType::kF64, ReduceOp::kSum);
  double sum = 0;
  for (double loss : loss_table_) sum += loss;
  return sum;
}

}  // namespace trireme
