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
      store_(Pointers(plan.chunks), plan.buckets, *plan.update, plan.update_options, plan.passing),
      inputs_(plan, device) {
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
}

std::unique_ptr<Executor> Trainer::MakeExecutor(const StepPlan& step, const std::vector<MemoryPlan>& memory,
                                                std::vector<Bindings> bindings) {
  Executor::Options options = {.mesh = plan_.mesh,
                               .coordinate = plan_.coordinate,
                               .slots = slots_,
                               .transient = transient_,
                               .graphs = plan_.uses_graphs,
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

std::vector<GemmUse> Trainer::Gemms() const {
  std::vector<GemmUse> gemms = step_->Gemms();
  for (const GemmUse& use : evaluation_->Gemms()) {
    const bool known = std::any_of(gemms.begin(), gemms.end(),
                                   [&use](const GemmUse& other) { return other.problem == use.problem; });
    if (!known) gemms.push_back(use);
  }
  return gemms;
}

void Trainer::Run(Executor& executor, const StepPlan& step, const ReadSamples& read, Timeline* timeline,
                  const ReadSamples& read_next) {
  executor.Run(
      [&](int m, int program, const auto& inputs) { inputs_.Load(*step.programs[program], m, read, inputs); },
      losses_, timeline,
      [&] {
        if (read_next) inputs_.ReadAhead(read_next);
      });
}

StepResult Trainer::Step(double learning_rate, const ReadSamples& read, Timeline* timeline,
                         const ReadSamples& read_next) {
  double inputs[kNumStepInputs];
  inputs[kLearningRate] = learning_rate;
  inputs[kTokens] = static_cast<double>(plan_.batch.tokens());
  device_.CopyToDevice(store_.step_inputs(), inputs, sizeof(inputs), 0);
  const int64_t none = 0;
  device_.CopyToDevice(dropped_, &none, sizeof(none), 0);
  inputs_.BeginStep();
  Run(*step_, plan_.step, read, timeline, read_next);
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
  inputs_.BeginEvaluation();
  Run(*evaluation_, plan_.evaluation, read, nullptr, nullptr);
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
