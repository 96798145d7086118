#include "launch/rank_plan.h"

#include <glog/logging.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace trireme {
namespace {

Recompute RecomputeOf(const Config& config) {
  const std::string& name = config.parallel().recompute();
  if (name == "none") return Recompute::kNone;
  if (name == "selective") return Recompute::kSelective;
  CHECK_EQ(name, "full");
  return Recompute::kFull;
}

BatchGeometry GeometryOf(const Config& config, const AxisSizes& mesh, const AxisSizes& coordinate) {
  BatchGeometry batch;
  batch.sequence_length = config.train().sequence_length();
  batch.micro_batch = config.train().micro_batch();
  batch.global_batch = config.train().global_batch();
  batch.num_replicas = mesh[Axis::kDp];
  batch.replica = coordinate[Axis::kDp];
  batch.num_micro_batches = batch.global_batch / (batch.micro_batch * batch.num_replicas);
  return batch;
}

ChunkSpec SpecOf(const Config& config, const RankPlan& plan, ChunkSpec::Purpose purpose) {
  const int num_stages = plan.mesh[Axis::kPp], stage = plan.coordinate[Axis::kPp];
  const BlockRange blocks = StageBlocks(plan.model->num_blocks(), num_stages, stage);
  return {.purpose = purpose,
          .first_block = blocks.first,
          .end_block = blocks.end,
          .has_embedding = stage == 0,
          .has_head = stage == num_stages - 1,
          .sequences = plan.batch.micro_batch,
          .sequence_length = plan.batch.sequence_length,
          .mesh = plan.mesh,
          .precision = plan.precision,
          .recompute = RecomputeOf(config),
          .sequence_parallel = config.parallel().sequence_parallel()};
}

// A tied embedding lives on the first and the last stage; "" where one stage has both ends, or neither.
std::string TiedParameter(const RankPlan& plan) {
  const int num_stages = plan.mesh[Axis::kPp], stage = plan.coordinate[Axis::kPp];
  if (!plan.model->ties_embedding() || num_stages == 1) return "";
  if (stage != 0 && stage != num_stages - 1) return "";
  return plan.model->embedding_name();
}

StageNeighbours NeighboursOf(const RankPlan& plan, bool ties) {
  const int num_stages = plan.mesh[Axis::kPp], stage = plan.coordinate[Axis::kPp];
  StageNeighbours neighbours;
  // Each channel has two ranks: the earlier stage is rank 0.
  if (stage > 0) neighbours.from_previous = neighbours.to_previous = 0;
  if (stage + 1 < num_stages) neighbours.to_next = neighbours.from_next = 1;
  neighbours.has_home_pair = ties;
  return neighbours;
}

// Over the whole model, whatever this rank's share: that of one rank without a mesh.
double FlopsPerToken(const Config& config, const RankPlan& plan) {
  ChunkSpec spec = SpecOf(config, plan, ChunkSpec::Purpose::kTrain);
  spec.first_block = 0;
  spec.end_block = plan.model->num_blocks();
  spec.has_embedding = spec.has_head = true;
  spec.sequences = 1;
  spec.mesh = {};
  spec.recompute = Recompute::kNone;
  const std::unique_ptr<Program> whole = RecordChunk(*plan.model, spec);
  return whole->MathematicalFlops() / static_cast<double>(spec.sequence_length);
}

}  // namespace

AxisSizes MeshSizes(const Config& config) {
  AxisSizes sizes;
  sizes[Axis::kPp] = static_cast<int>(config.mesh().pp());
  sizes[Axis::kDp] = static_cast<int>(config.mesh().dp());
  sizes[Axis::kCp] = static_cast<int>(config.mesh().cp());
  sizes[Axis::kTp] = static_cast<int>(config.mesh().tp());
  return sizes;
}

Precision PrecisionOf(const Config& config) {
  const std::string& dtype = config.train().dtype();
  if (dtype == "bf16") return {DType::kBF16};
  if (dtype == "fp64") return {DType::kF64};
  return {DType::kF32};
}

BlockRange StageBlocks(int num_blocks, int num_stages, int stage) {
  const int share = num_blocks / num_stages, rest = num_blocks % num_stages;
  const int first = stage * share + std::min(stage, rest);
  return {first, first + share + (stage < rest ? 1 : 0)};
}

RankPlan MakeRankPlan(const Config& config, const AxisSizes& coordinate, const Device& device) {
  RankPlan plan;
  plan.mesh = MeshSizes(config);
  plan.coordinate = coordinate;
  plan.precision = PrecisionOf(config);
  plan.batch = GeometryOf(config, plan.mesh, coordinate);
  plan.model = CreateModel(config.model(), static_cast<uint64_t>(config.train().seed()));
  plan.flops_per_token = FlopsPerToken(config, plan);
  plan.chunk = RecordChunk(*plan.model, SpecOf(config, plan, ChunkSpec::Purpose::kTrain));
  plan.evaluation_chunk = RecordChunk(*plan.model, SpecOf(config, plan, ChunkSpec::Purpose::kEvaluate));

  const std::string tied = TiedParameter(plan);
  plan.buckets = MakeBuckets(*plan.chunk, plan.mesh, tied);
  const OptimizerConfig& optimizer = config.optimizer();
  plan.update_options = {.adamw = {.beta1 = optimizer.beta1(),
                                   .beta2 = optimizer.beta2(),
                                   .epsilon = optimizer.epsilon(),
                                   .weight_decay = optimizer.weight_decay()},
                         .clip_norm = optimizer.clip_norm(),
                         .zero_stage = static_cast<int>(config.parallel().zero_stage()),
                         .mesh = plan.mesh,
                         .coordinate = coordinate,
                         .precision = plan.precision};
  plan.update = std::make_unique<UpdateProgram>(RecordUpdate(plan.buckets, plan.update_options));

  const StageNeighbours neighbours = NeighboursOf(plan, !tied.empty());
  const int num_micro_batches = static_cast<int>(plan.batch.num_micro_batches);
  const std::vector<Work> schedule =
      Schedule(ScheduleNamed(config.pipeline().schedule()), {coordinate[Axis::kPp], plan.mesh[Axis::kPp]},
               num_micro_batches);
  plan.step = PlanTrainingStep(*plan.chunk, *plan.update, plan.buckets, schedule, num_micro_batches,
                               plan.update_options.zero_stage, neighbours);
  plan.evaluation = PlanEvaluation(*plan.evaluation_chunk, num_micro_batches, neighbours);

  plan.step_memory = {PlanMemory(*plan.chunk, device), PlanMemory(plan.update->program, device)};
  plan.evaluation_memory = {PlanMemory(*plan.evaluation_chunk, device)};
  plan.slot_bytes = std::max(Executor::SlotBytes(plan.step, plan.step_memory),
                             Executor::SlotBytes(plan.evaluation, plan.evaluation_memory));
  plan.transient_bytes =
      std::max(Executor::TransientBytes(plan.step_memory), Executor::TransientBytes(plan.evaluation_memory));
  plan.persistent =
      ParameterStore(*plan.chunk, plan.buckets, *plan.update, plan.update_options).PlannedBytes();
  return plan;
}

std::string RankPlan::MemoryTable() const {
  std::string text = "memory of this rank, planned\n";
  auto row = [&text](const char* name, int64_t bytes, const std::string& note) {
    absl::StrAppendFormat(&text, "  %-18s %10.2f MiB  %s\n", name, static_cast<double>(bytes) / (1 << 20),
                          note);
  };
  row("parameters", persistent.parameters, "compute copies and master weights");
  row("gradients", persistent.gradients, "");
  row("optimizer state", persistent.optimizer_state,
      update_options.zero_stage == 0
          ? "on every replica"
          : absl::StrCat("1/", NumRanks({Axis::kDp, Axis::kCp}, mesh), " of it here"));
  row("saved activations", slot_bytes, absl::StrCat(step.num_slots, " micro-batches in flight"));
  row("transient", transient_bytes, "workspaces included");
  row("total", total_bytes(), "");
  return text;
}

std::string RankPlan::ToString() const {
  auto at = [this](Axis axis) { return absl::StrCat(Name(axis), " ", coordinate[axis], "/", mesh[axis]); };
  return absl::StrCat("rank at ", at(Axis::kPp), ", ", at(Axis::kDp), ", ", at(Axis::kCp), ", ",
                      at(Axis::kTp), "\n\n== program of one micro-batch (layouts: dp.cp.tp)\n",
                      chunk->ToString(), "\n== update\n", update->program.ToString(), "\n== step\n",
                      step.ToString(), "\n", MemoryTable());
}

}  // namespace trireme
