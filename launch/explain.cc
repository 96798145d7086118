// `trireme explain`: what a rank of a mesh would do, on a machine that has neither the ranks nor the data.
#include <glog/logging.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "configs/exit_codes.h"
#include "configs/load.h"
#include "configs/validate.h"
#include "launch/command.h"
#include "launch/environment.h"
#include "launch/rank_plan.h"
#include "launch/schedule_svg.h"
#include "parallel/mesh.h"
#include "parallel/schedule_bubble.h"
#include "parallel/schedule_simulator.h"
#include "runtime/cpu/cpu_device.h"

namespace trireme {
namespace {

struct ExplainFlags {
  std::string config;
  std::vector<std::string> overrides;
  int rank = 0;
  int num_ranks = 0;
  bool schedule = false;
  std::string svg;
  bool memory = false;
  int threads = 0;
};

// Without --ranks: the ranks that the mesh's axes make, an unset one being of size 1.
int NumRanks(const MeshConfig& mesh) {
  int64_t ranks = 1;
  for (const int64_t size : {mesh.pp(), mesh.dp(), mesh.cp(), mesh.tp()}) {
    ranks *= size == 0 ? 1 : size;
    // Beyond any mesh: ResolveMesh says what is wrong with it.
    if (ranks > (1 << 30)) return 1 << 30;
  }
  return static_cast<int>(ranks);
}

absl::StatusOr<Config> Resolve(const ExplainFlags& flags) {
  absl::StatusOr<Config> config = LoadConfig(flags.config, flags.overrides);
  if (!config.ok()) return config;
  const int num_ranks = flags.num_ranks > 0 ? flags.num_ranks : NumRanks(config->mesh());
  if (absl::Status status = ResolveMesh(&*config, num_ranks); !status.ok()) return status;
  if (flags.rank >= num_ranks) {
    return absl::InvalidArgumentError(absl::StrCat("--rank ", flags.rank, ": the mesh has ", num_ranks,
                                                   " ranks, 0 to ", num_ranks - 1,
                                                   "; name more with --ranks or --set mesh.tp=2"));
  }
  return config;
}

struct DrawnSchedule {
  std::string title;
  std::string text;
  PipelineSimulation simulation;
};

DrawnSchedule DrawSchedule(const Config& config) {
  const ScheduleKind kind = ScheduleNamed(config.pipeline().schedule());
  const int p = static_cast<int>(config.mesh().pp()),
            v = static_cast<int>(config.pipeline().virtual_stages());
  const int m =
      static_cast<int>(config.train().global_batch() / (config.train().micro_batch() * config.mesh().dp()));
  const PipelinePlace place = PlaceIn(kind, p, 0, v);
  absl::StatusOr<PipelineSimulation> simulation =
      Simulate(ScheduleOfAllStages(kind, p, v, m), {}, place.turns);
  CHECK(simulation.ok()) << simulation.status();
  const std::string chunks =
      place.num_chunks > 1 ? absl::StrCat(" of ", place.num_chunks, " chunks") : std::string();
  DrawnSchedule drawn;
  drawn.title = absl::StrCat("schedule ", Name(kind), ": ", p, " stages", chunks, ", ", m, " micro-batches");
  drawn.text =
      absl::StrCat(drawn.title, "; a line a stage, a column a unit of time, forward 1 and backward 2",
                   SplitsBackward(kind) ? ", of which the weights' part is 1\n" : "\n", Picture(*simulation));
  absl::StrAppendFormat(&drawn.text, "idle: %.1f %% of the time; published: %.1f %%, %s\n",
                        100 * simulation->bubble_fraction, 100 * PublishedBubble(kind, p, v, m),
                        PublishedFormula(kind));
  absl::StrAppend(&drawn.text,
                  "activations in flight, at most, by stage: ", absl::StrJoin(simulation->max_in_flight, " "),
                  " micro-batches", place.num_chunks > 1 ? " of a chunk" : "", "\n");
  drawn.simulation = *std::move(simulation);
  return drawn;
}

int ExplainSchedule(const Config& config, const std::string& svg_path) {
  const DrawnSchedule drawn = DrawSchedule(config);
  std::fputs(drawn.text.c_str(), stdout);
  if (svg_path.empty()) return kExitFinished;
  std::ofstream file(svg_path);
  file << ScheduleSvg(drawn.simulation, drawn.title);
  file.close();
  if (file) return kExitFinished;
  PrintError(absl::InvalidArgumentError(absl::StrCat("--svg ", svg_path, ": cannot be written (",
                                                     std::strerror(errno),
                                                     "); name a file in a folder that exists")));
  return kExitConfig;
}

// The rank's memory under each stage of ZeRO, a column a stage.
std::string MemoryByZeroStage(Config config, const AxisSizes& coordinate, const Device& device) {
  const std::pair<const char*, std::function<int64_t(const RankPlan&)>> rows[] = {
      {"parameters", [](const RankPlan& plan) { return plan.persistent.parameters; }},
      {"gradients", [](const RankPlan& plan) { return plan.persistent.gradients; }},
      {"optimizer state", [](const RankPlan& plan) { return plan.persistent.optimizer_state; }},
      {"passing buckets", [](const RankPlan& plan) { return plan.persistent.passing; }},
      {"saved activations", [](const RankPlan& plan) { return plan.slot_bytes; }},
      {"transient", [](const RankPlan& plan) { return plan.transient_bytes; }},
      {"total", [](const RankPlan& plan) { return plan.total_bytes(); }}};
  std::vector<RankPlan> plans;
  std::string text = absl::StrFormat("\n%-18s", "MiB by ZeRO stage");
  for (int stage = 0; stage <= 3; ++stage) {
    config.mutable_parallel()->set_zero_stage(stage);
    plans.push_back(MakeRankPlan(config, coordinate, device));
    absl::StrAppendFormat(&text, "  %10d", stage);
  }
  text += '\n';
  for (const auto& [name, bytes] : rows) {
    absl::StrAppendFormat(&text, "  %-16s", name);
    for (const RankPlan& plan : plans) {
      absl::StrAppendFormat(&text, "  %10.2f", static_cast<double>(bytes(plan)) / (1 << 20));
    }
    text += '\n';
  }
  return text;
}

int Explain(const ExplainFlags& flags) {
  const absl::StatusOr<Config> config = Resolve(flags);
  if (!config.ok()) {
    PrintError(config.status());
    return kExitConfig;
  }
  if (flags.schedule) {
    return ExplainSchedule(*config, flags.svg);
  }
  const CpuDevice device(flags.threads > 0 ? flags.threads : ReadEnvironment().num_threads);
  const AxisSizes coordinate = CoordinateOf(flags.rank, MeshSizes(*config));
  const RankPlan plan = MakeRankPlan(*config, coordinate, device);
  const std::string text =
      flags.memory ? plan.MemoryTable() + MemoryByZeroStage(*config, coordinate, device) : plan.ToString();
  std::fputs(text.c_str(), stdout);
  return kExitFinished;
}

}  // namespace

void AddExplainCommand(CLI::App& app, CommandBody* body) {
  CLI::App* command =
      app.add_subcommand("explain", "Print what one rank would do in a step, before anything runs.");
  auto flags = std::make_shared<ExplainFlags>();
  command->add_option("--config", flags->config, "The recipe, a .textproto file")
      ->type_name("FILE")
      ->required();
  command->add_option("--rank", flags->rank, "The rank to explain")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--ranks", flags->num_ranks,
                   "Ranks of the whole job, of which an unset mesh.dp takes what the\n"
                   "other axes leave (default: the product of the axes that are set)")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--set", flags->overrides,
                   "Replace a field of the recipe, as in --set mesh.tp=2; repeatable")
      ->type_name("FIELD=VALUE")
      ->allow_extra_args(false);
  auto* schedule =
      command->add_flag("--schedule", flags->schedule, "Print the pipeline's schedule as a picture instead");
  command->add_option("--svg", flags->svg, "Also draw the schedule into this file, as an SVG")
      ->type_name("FILE")
      ->needs(schedule);
  command
      ->add_flag("--memory", flags->memory,
                 "Print the table of memory alone, and what each ZeRO stage would take")
      ->excludes(schedule);
  command
      ->add_option(
          "--threads", flags->threads,
          "Threads of a rank, for the workspaces of its kernels\n(default: OMP_NUM_THREADS, else all cores)")
      ->check(CLI::PositiveNumber);
  command->footer(
      "The listing: the Program of one micro-batch with every op, its values' dtype, local shape, layout and "
      "bytes, and\n"
      "what it communicates; the update; the step as one list; the memory that the rank will take. Needs no "
      "ranks, no\n"
      "MPI and no data, whatever the size of the mesh.\n"
      "Example: trireme explain --config configs/tiny_llama.textproto --rank 1 --set mesh.tp=2");
  command->callback([flags, body] { *body = [flags] { return Explain(*flags); }; });
}

}  // namespace trireme
