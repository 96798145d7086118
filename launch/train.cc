// trireme train: reads and checks the configuration, then starts MPI and runs.
#include <memory>
#include <vector>

#include "configs/exit_codes.h"
#include "configs/load.h"
#include "configs/validate.h"
#include "launch/command.h"
#include "launch/environment.h"
#include "launch/open_device.h"
#include "launch/step_trace.h"
#include "launch/stop_signal.h"
#include "launch/training_run.h"
#include "parallel/mpi_communicator.h"

namespace trireme {
namespace {

struct TrainFlags {
  std::string config;
  std::vector<std::string> overrides;
  std::string resume = "auto";
  std::string trace;
  std::string trace_steps;
};

int Train(const TrainFlags& flags) {
  const LaunchEnvironment environment = ReadEnvironment();
  absl::StatusOr<Config> config = LoadConfig(flags.config, flags.overrides, kTrainingRequires);
  absl::Status status = config.ok() ? ResolveMesh(&*config, environment.num_ranks) : config.status();
  if (status.ok()) status = CheckDevice(*config);
  const absl::StatusOr<TraceRequest> trace = ReadTraceRequest(flags.trace, flags.trace_steps);
  if (status.ok()) status = trace.status();
  if (!status.ok()) {
    // Every rank finds the same; one says it.
    if (environment.rank == 0) PrintError(status);
    return kExitConfig;
  }
  ListenForStop();
  absl::StatusOr<std::unique_ptr<MpiEnvironment>> mpi = MpiEnvironment::Create(environment.under_launcher);
  if (!mpi.ok()) {
    PrintError(mpi.status());
    return kExitInternal;
  }
  const ResumeMode resume = flags.resume == "auto"       ? ResumeMode::kAuto
                            : flags.resume == "required" ? ResumeMode::kRequired
                                                         : ResumeMode::kNever;
  return RunTraining(*config, resume, *trace, environment, (*mpi)->world(),
                     [&mpi](int code) { (*mpi)->Abort(code); });
}

}  // namespace

void AddTrainCommand(CLI::App& app, CommandBody* body) {
  CLI::App* command =
      app.add_subcommand("train", "Train a model; under mpirun on a mesh of ranks, without it on one.");
  const auto flags = std::make_shared<TrainFlags>();
  command->add_option("--config", flags->config, "the run, as textproto; recipes stand in configs/")
      ->required();
  command->add_option("--set", flags->overrides, "replace a field of it: --set mesh.tp=2; may be repeated")
      ->take_all()
      ->allow_extra_args(false);
  command
      ->add_option(
          "--resume", flags->resume,
          "auto: from the newest checkpoint of run.directory, if any; required: fail without one; never")
      ->check(CLI::IsMember({"auto", "required", "never"}));
  CLI::Option* const trace = command->add_option(
      "--trace", flags->trace,
      "write a timeline of a few steps of all ranks into this file, for https://ui.perfetto.dev");
  command
      ->add_option("--trace-steps", flags->trace_steps,
                   "which steps, first:last, counted from 1; without it the third to the fifth of this run")
      ->needs(trace);
  command->footer(
      "Writes run.directory: metrics.jsonl, evaluations.jsonl, checkpoints/. SIGUSR1: finish the step, save, "
      "exit 75.\n"
      "Several ranks: mpirun -np 4 trireme train ... (more ranks than cores: --oversubscribe --bind-to "
      "none).");
  command->callback([body, flags] { *body = [flags] { return Train(*flags); }; });
}

}  // namespace trireme
