#include "launch/rank_plan.h"

#include <glog/logging.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "launch/step_inputs.h"
#include "parallel/gather_pass.h"
#include "runtime/ops/cross_entropy.h"

namespace trireme {
namespace {

Recompute RecomputeOf(const Config& config) {
  const std::string& name = config.parallel().recompute();
  if (name == "none") return Recompute::kNone;
  if (name == "selective") return Recompute::kSelective;
  CHECK_EQ(name, "full");
  return Recompute::kFull;
}

ContextForm FormOf(const Config& config) {
  return config.parallel().context_form() == "ring" ? ContextForm::kRing : ContextForm::kAllToAll;
}

BatchGeometry GeometryOf(const Config& config, const AxisSizes& mesh, const AxisSizes& coordinate) {
  BatchGeometry batch;
  batch.sequence_length = config.train().sequence_length();
  batch.micro_batch = config.train().micro_batch();
  batch.global_batch = config.train().global_batch();
  batch.num_replicas = mesh[Axis::kDp];
  batch.replica = coordinate[Axis::kDp];
  batch.num_micro_batches = batch.global_batch / (batch.micro_batch * batch.num_replicas);
  batch.order = {batch.micro_batch * batch.sequence_length, mesh[Axis::kCp],
                 mesh[Axis::kCp] > 1 && FormOf(config) == ContextForm::kRing};
  return batch;
}

// It follows from what dp, pp and ZeRO leave as it is: the tokens and the micro-batches of a step, and the
// ranks that share one.
std::optional<GradientGrid> GridOf(const Config& config) {
  if (!config.numerics().mesh_invariant_sum()) return std::nullopt;
  const TrainConfig& train = config.train();
  const AxisSizes mesh = MeshSizes(config);
  return GradientGrid::For(train.global_batch() * train.sequence_length(),
                           train.global_batch() / train.micro_batch() * mesh[Axis::kCp] * mesh[Axis::kTp]);
}

ChunkSpec SpecOf(const Config& config, const RankPlan& plan, ChunkSpec::Purpose purpose, int chunk) {
  const int position = plan.place.PositionOf(chunk), num_positions = plan.place.num_positions();
  const BlockRange& blocks = plan.blocks[position];
  return {.purpose = purpose,
          .first_block = blocks.first,
          .end_block = blocks.end,
          .has_embedding = position == 0,
          .has_head = position == num_positions - 1,
          .sequences = plan.batch.micro_batch,
          .sequence_length = plan.batch.sequence_length,
          .mesh = plan.mesh,
          .precision = plan.precision,
          .recompute = RecomputeOf(config),
          .splits_backward = SplitsBackward(ScheduleNamed(config.pipeline().schedule())),
          .sequence_parallel = config.parallel().sequence_parallel(),
          .context_form = FormOf(config),
          .z_loss = config.train().z_loss_coef(),
          .grid = GridOf(config)};
}

std::vector<std::unique_ptr<Program>> RecordChunks(const Config& config, const RankPlan& plan,
                                                   ChunkSpec::Purpose purpose) {
  std::vector<std::unique_ptr<Program>> chunks;
  for (int c = 0; c < plan.place.num_chunks; ++c) {
    chunks.push_back(RecordChunk(*plan.model, SpecOf(config, plan, purpose, c)));
  }
  return chunks;
}

template <typename P>
std::vector<P*> Pointers(const std::vector<std::unique_ptr<Program>>& programs) {
  std::vector<P*> pointers;
  for (const std::unique_ptr<Program>& program : programs) pointers.push_back(program.get());
  return pointers;
}

// A tied embedding lives where the model begins and where it ends; "" where one stage has both, or this one
// neither.
std::string TiedParameter(const RankPlan& plan) {
  const PipelinePlace& place = plan.place;
  const int first = place.StageAt(0), last = place.StageAt(place.num_positions() - 1);
  if (!plan.model->ties_embedding() || first == last) return "";
  return place.stage == first || place.stage == last ? plan.model->embedding_name() : "";
}

// The whole model, whatever this rank's share: that of one rank without a mesh, for one sequence.
std::unique_ptr<Program> RecordWhole(const Config& config, const RankPlan& plan) {
  return RecordChunk(*plan.model, {.end_block = plan.model->num_blocks(),
                                   .sequence_length = plan.batch.sequence_length,
                                   .precision = plan.precision,
                                   .sequence_parallel = config.parallel().sequence_parallel()});
}

}  // namespace

AxisSizes MeshSizes(const Config& config) {
  AxisSizes sizes;
  sizes[Axis::kPp] = static_cast<int>(config.mesh().pp());
  sizes[Axis::kDp] = static_cast<int>(config.mesh().dp());
  sizes[Axis::kCp] = static_cast<int>(config.mesh().cp());
  sizes[Axis::kTp] = static_cast<int>(config.mesh().tp());
  sizes[Axis::kEp] = static_cast<int>(config.mesh().ep());
  return sizes;
}

Precision PrecisionOf(const Config& config) {
  const std::string& dtype = config.train().dtype();
  if (dtype == "bf16") return {DType::kBF16};
  if (dtype == "fp64") return {DType::kF64};
  return {DType::kF32};
}

PipelinePlace PlaceOf(const Config& config, int stage) {
  return PlaceIn(ScheduleNamed(config.pipeline().schedule()), static_cast<int>(config.mesh().pp()), stage,
                 static_cast<int>(config.pipeline().virtual_stages()));
}

RankPlan MakeRankPlan(const Config& config, const AxisSizes& coordinate, const Device& device) {
  RankPlan plan;
  plan.mesh = MeshSizes(config);
  plan.coordinate = coordinate;
  plan.place = PlaceOf(config, coordinate[Axis::kPp]);
  plan.precision = PrecisionOf(config);
  plan.batch = GeometryOf(config, plan.mesh, coordinate);
  plan.uses_graphs = config.train().cuda_graphs();
  plan.num_loss_terms = config.train().z_loss_coef() > 0 ? kNumLossTerms : 1;
  if (config.model().expert_capacity_factor() > 0) {
    plan.num_limited_choices =
        plan.batch.tokens() * config.model().num_experts_per_tok() * config.model().num_hidden_layers();
  }
  plan.model = CreateModel(config.model(), static_cast<uint64_t>(config.train().seed()));
  const std::unique_ptr<Program> whole = RecordWhole(config, plan);
  plan.flops_per_token = whole->MathematicalFlops() / static_cast<double>(plan.batch.sequence_length);
  plan.blocks = PlaceBlocks(plan.model->num_blocks(), plan.place.num_positions(), CostsOf(*whole));
  plan.chunks = RecordChunks(config, plan, ChunkSpec::Purpose::kTrain);
  plan.evaluation_chunks = RecordChunks(config, plan, ChunkSpec::Purpose::kEvaluate);

  ShareParameters(Pointers<Program>(plan.chunks));
  const std::vector<const Program*> chunks = Pointers<const Program>(plan.chunks);
  plan.buckets = MakeBuckets(chunks, plan.mesh, TiedParameter(plan));
  const OptimizerConfig& optimizer = config.optimizer();
  plan.update_options = {.adamw = {.beta1 = optimizer.beta1(),
                                   .beta2 = optimizer.beta2(),
                                   .epsilon = optimizer.epsilon(),
                                   .weight_decay = optimizer.weight_decay()},
                         .clip_norm = optimizer.clip_norm(),
                         .zero_stage = static_cast<int>(config.parallel().zero_stage()),
                         .mesh = plan.mesh,
                         .coordinate = coordinate,
                         .precision = plan.precision,
                         .grid = GridOf(config)};
  if (optimizer.stochastic_rounding()) {
    plan.update_options.rounding_seed = static_cast<uint64_t>(config.train().seed());
  }
  plan.update = std::make_unique<UpdateProgram>(RecordUpdate(chunks, plan.buckets, plan.update_options));

  const int num_micro_batches = static_cast<int>(plan.batch.num_micro_batches);
  const std::vector<Work> schedule =
      Schedule(ScheduleNamed(config.pipeline().schedule()), plan.place, num_micro_batches);
  plan.step = PlanTrainingStep({chunks, plan.place}, *plan.update, plan.buckets, schedule, num_micro_batches,
                               plan.update_options.zero_stage);
  const std::vector<const Program*> evaluated = Pointers<const Program>(plan.evaluation_chunks);
  plan.evaluation = PlanEvaluation({evaluated, plan.place}, schedule, num_micro_batches);
  for (StepPlan* step : {&plan.step, &plan.evaluation}) GatherParameters(plan.buckets, *plan.update, *step);

  for (const Program* program : plan.step.programs) plan.step_memory.push_back(PlanMemory(*program, device));
  for (const Program* program : plan.evaluation.programs) {
    plan.evaluation_memory.push_back(PlanMemory(*program, device));
  }
  plan.slot_bytes = std::max(Executor::SlotBytes(plan.step, plan.step_memory),
                             Executor::SlotBytes(plan.evaluation, plan.evaluation_memory));
  plan.transient_bytes =
      std::max(Executor::TransientBytes(plan.step_memory), Executor::TransientBytes(plan.evaluation_memory));
  if (!device.is_host()) {
    plan.input_bytes = StepInputs::DeviceBytes(plan.batch, plan.model->alibi_heads());
  }
  plan.passing = PlanPassingMemory(*plan.update, {&plan.step, &plan.evaluation});
  plan.persistent =
      ParameterStore(chunks, plan.buckets, *plan.update, plan.update_options, plan.passing).PlannedBytes();
  return plan;
}

std::string RankPlan::MemoryTable() const {
  std::string text = "memory of this rank, planned\n";
  auto row = [&text](const char* name, int64_t bytes, const std::string& note) {
    absl::StrAppendFormat(&text, "  %-18s %10.2f MiB  %s\n", name, static_cast<double>(bytes) / (1 << 20),
                          note);
  };
  const int zero_stage = update_options.zero_stage;
  std::string share = absl::StrCat("1/", NumRanks({Axis::kDp, Axis::kCp}, mesh), " of it here");
  if (mesh[Axis::kEp] > 1) absl::StrAppend(&share, ", of the own experts' 1/", mesh[Axis::kEdp]);
  auto held = [&](int shared_from) { return zero_stage >= shared_from ? share : "on every replica"; };
  const bool rounds = update_options.rounding_seed.has_value();
  row("parameters", persistent.parameters,
      absl::StrCat(rounds ? "bf16, without master weights, " : "compute copies and master weights, ",
                   held(3)));
  const std::string grid = update_options.grid.has_value()
                               ? absl::StrCat("whole multiples of 2^", update_options.grid->exponent, ", ")
                               : std::string();
  row("gradients", persistent.gradients, grid + held(2));
  row("optimizer state", persistent.optimizer_state, held(1));
  if (zero_stage >= 2) row("passing buckets", persistent.passing, "whole ones, while a block needs them");
  row("saved activations", slot_bytes, absl::StrCat(step.num_slots, " micro-batches in flight"));
  row("transient", transient_bytes, "workspaces included");
  if (input_bytes > 0) row("inputs", input_bytes, "samples of this step and the next");
  row("total", total_bytes(), "");
  return text;
}

std::string RankPlan::ToString() const {
  auto at = [this](Axis axis) {
    return absl::StrCat(Name(axis), " ", CoordinateAlong(axis, coordinate, mesh), "/", mesh[axis]);
  };
  const std::string of_experts = mesh[Axis::kEp] > 1 ? absl::StrCat(", ", at(Axis::kEp)) : "";
  std::string text = absl::StrCat("rank at ", at(Axis::kPp), ", ", at(Axis::kDp), ", ", at(Axis::kCp), ", ",
                                  at(Axis::kTp), of_experts, "\n");
  for (size_t c = 0; c < chunks.size(); ++c) {
    const std::string which = chunks.size() > 1 ? absl::StrCat(" of chunk ", c) : std::string();
    absl::StrAppend(&text, "\n== program", which, " of one micro-batch (layouts: dp.cp.tp)\n",
                    chunks[c]->ToString());
  }
  absl::StrAppend(&text, "\n== update\n", update->program.ToString(), "\n== step\n", step.ToString(), "\n",
                  MemoryTable());
  return text;
}

}  // namespace trireme
