#include "launch/bench_pipeline.h"

#include <glog/logging.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "parallel/mesh.h"
#include "parallel/schedule_bubble.h"
#include "parallel/schedule_simulator.h"
#include "parallel/step_planner.h"
#include "parallel/thread_communicator.h"
#include "runtime/clock.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/executor.h"

namespace trireme {
namespace {

// Its kernels sleep as long as their op's attribute "seconds" says; those without it do nothing.
class SleepingDevice : public CpuDevice {
 public:
  SleepingDevice() : CpuDevice(1) {}

  void Launch(Kernel, const KernelArguments& arguments, StreamId) override {
    if (arguments.op.kind != OpKind::kAdd) return;
    const double begin = NowSeconds();
    std::this_thread::sleep_for(std::chrono::duration<double>(arguments.op.attributes.Float("seconds")));
    slept_seconds_ += NowSeconds() - begin;
  }

  double slept_seconds() const { return slept_seconds_; }

 private:
  double slept_seconds_ = 0;
};

// A chunk without mathematics: what crosses its borders, and one op for each part of its work.
class SleepingChunk {
 public:
  SleepingChunk(int position, int num_positions, bool splits, double forward_seconds) {
    const bool has_input = position > 0, has_output = position + 1 < num_positions;
    const ValueId x = Value(has_input ? ValueKind::kReceived : ValueKind::kInput, "x");
    const ValueId y = Value(ValueKind::kResult, "y");
    const ValueId dy = has_output ? Value(ValueKind::kReceived, "d.y") : y;
    const ValueId dx = Value(ValueKind::kResult, "d.x");
    if (has_input) {
      program_.stage_input = x;
      program_.stage_input_gradient = dx;
    }
    if (has_output) {
      program_.stage_output = y;
      program_.stage_output_gradient = dy;
    }
    Segment(Region::kForward, x, y, forward_seconds);
    Segment(Region::kBackward, dy, dx, (splits ? 1 : 2) * forward_seconds);
    if (splits) Segment(Region::kBackwardWeight, dx, Value(ValueKind::kResult, "d.w"), forward_seconds);
  }

  const Program* program() const { return &program_; }

 private:
  ValueId Value(ValueKind kind, const char* name) {
    program_.values.push_back({.name = name, .kind = kind, .dtype = DType::kF32, .shape = {16}});
    return static_cast<ValueId>(program_.values.size()) - 1;
  }
  void Segment(Region region, ValueId in, ValueId out, double seconds) {
    program_.segments.push_back({Name(region),
                                 region,
                                 region == Region::kForward ? -1 : 0,
                                 {{OpKind::kAdd, {in, in}, {out}, {{"seconds", seconds}}}}});
  }

  Program program_;
};

// One rank's part of a schedule, ready to run.
class Stage {
 public:
  Stage(ScheduleKind kind, const PipelineBenchmark& benchmark, Communicator& world)
      : place_(PlaceIn(kind, benchmark.num_stages, world.rank(), benchmark.virtual_stages)),
        update_(RecordUpdate({}, {}, {})) {
    AxisSizes sizes;
    sizes[Axis::kPp] = benchmark.num_stages;
    absl::StatusOr<std::unique_ptr<Mesh>> mesh = Mesh::Create(world, sizes, LinksOf(place_));
    CHECK(mesh.ok()) << mesh.status();
    mesh_ = *std::move(mesh);
    Plan(kind, benchmark);
    MakeExecutor();
  }

  void Run() {
    executor_->Run([](int, int, const auto&) {}, nullptr);
  }
  double slept_seconds() const { return device_.slept_seconds(); }

 private:
  void Plan(ScheduleKind kind, const PipelineBenchmark& benchmark) {
    StageChunks chunks = {{}, place_};
    for (int c = 0; c < place_.num_chunks; ++c) {
      chunks_.push_back(std::make_unique<SleepingChunk>(place_.PositionOf(c), place_.num_positions(),
                                                        SplitsBackward(kind),
                                                        benchmark.forward_seconds / place_.num_chunks));
      chunks.programs.push_back(chunks_.back()->program());
    }
    const int m = benchmark.num_micro_batches;
    plan_ = PlanTrainingStep(chunks, update_, {}, Schedule(kind, place_, m), m, 0);
  }

  void MakeExecutor() {
    std::vector<MemoryPlan> memory;
    std::vector<Bindings> bindings;
    for (const Program* program : plan_.programs) {
      memory.push_back(PlanMemory(*program, device_));
      bindings.emplace_back(program->values.size(), device_.Allocate(1 << 12));
    }
    Executor::Options options = {.slots = device_.Allocate(Executor::SlotBytes(plan_, memory)),
                                 .transient = device_.Allocate(Executor::TransientBytes(memory))};
    options.channels.resize(kReductions);
    for (const bool turned : {false, true}) {
      Communicator** const channels = &options.channels[turned ? kTurned : 0];
      channels[kFromPrevious] = mesh_->activation_from_previous(turned).communicator;
      channels[kToNext] = mesh_->activation_to_next(turned).communicator;
      channels[kFromNext] = mesh_->gradient_from_next(turned).communicator;
      channels[kToPrevious] = mesh_->gradient_to_previous(turned).communicator;
    }
    options.channels[kWorld] = &mesh_->world();
    executor_ = std::make_unique<Executor>(plan_, std::move(memory), std::move(bindings), device_,
                                           std::move(options));
  }

  const PipelinePlace place_;
  const UpdateProgram update_;
  SleepingDevice device_;
  std::unique_ptr<Mesh> mesh_;
  std::vector<std::unique_ptr<SleepingChunk>> chunks_;
  StepPlan plan_;
  std::unique_ptr<Executor> executor_;
};

// A step ends on all ranks at once: with the reduction of the gradient's norm.
PipelineBenchmarkReport::Row Measure(ScheduleKind kind, const PipelineBenchmark& benchmark) {
  std::atomic<double> seconds = 0, slept = 0;
  RunThreadRanks(benchmark.num_stages, [&](Communicator& world) {
    Stage stage(kind, benchmark, world);
    stage.Run();  // and once more, so that all have begun
    const double begin = NowSeconds(), slept_before = stage.slept_seconds();
    for (int step = 0; step < benchmark.num_steps; ++step) stage.Run();
    slept += stage.slept_seconds() - slept_before;
    if (world.rank() == 0) seconds = NowSeconds() - begin;
  });
  const auto simulation = Simulate(
      ScheduleOfAllStages(kind, benchmark.num_stages, benchmark.virtual_stages, benchmark.num_micro_batches),
      {}, PlaceIn(kind, benchmark.num_stages, 0, benchmark.virtual_stages).turns);
  CHECK(simulation.ok()) << simulation.status();
  return {.kind = kind,
          .step_seconds = seconds / benchmark.num_steps,
          .measured = 1 - slept / (seconds * benchmark.num_stages),
          .on_paper = simulation->bubble_fraction,
          .published = PublishedBubble(kind, benchmark.num_stages, benchmark.virtual_stages,
                                       benchmark.num_micro_batches)};
}

}  // namespace

PipelineBenchmarkReport BenchmarkPipelines(const PipelineBenchmark& benchmark) {
  PipelineBenchmarkReport report = {.benchmark = benchmark};
  for (ScheduleKind kind : kAllSchedules) report.rows.push_back(Measure(kind, benchmark));
  return report;
}

std::string PipelineBenchmarkReport::ToString() const {
  std::string text = absl::StrFormat(
      "%d stages, %d micro-batches, forward %.1f ms and backward twice that, asleep; %d chunks a stage "
      "interleaved\n%-12s %9s  %s\n",
      benchmark.num_stages, benchmark.num_micro_batches, benchmark.forward_seconds * 1e3,
      benchmark.virtual_stages, "schedule", "step", "idle: measured, on paper, published");
  for (const Row& row : rows) {
    absl::StrAppendFormat(&text, "%-12s %6.1f ms  %5.1f %%  %5.1f %%  %5.1f %%  %s\n", Name(row.kind),
                          row.step_seconds * 1e3, 100 * row.measured, 100 * row.on_paper, 100 * row.published,
                          PublishedFormula(row.kind));
  }
  return text;
}

std::string PipelineBenchmarkReport::ToJson() const {
  nlohmann::ordered_json json;
  json["num_stages"] = benchmark.num_stages;
  json["virtual_stages"] = benchmark.virtual_stages;
  json["num_micro_batches"] = benchmark.num_micro_batches;
  json["forward_seconds"] = benchmark.forward_seconds;
  for (const Row& row : rows) {
    json["schedules"][Name(row.kind)] = {{"step_seconds", row.step_seconds},
                                         {"measured_bubble", row.measured},
                                         {"bubble_on_paper", row.on_paper},
                                         {"published_bubble", row.published}};
  }
  return json.dump(2) + "\n";
}

}  // namespace trireme
