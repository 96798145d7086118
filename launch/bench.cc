// `trireme bench`: how fast a training step is, and its kernels alone.
#include "runtime/cpu/bench.h"

#include <cstdio>
#include <fstream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "configs/exit_codes.h"
#include "configs/load.h"
#include "configs/validate.h"
#include "launch/bench_step.h"
#include "launch/command.h"
#include "launch/environment.h"
#include "launch/open_device.h"
#include "runtime/cpu/bench_products.h"

namespace trireme {
namespace {

struct StepFlags {
  std::string config;
  std::vector<std::string> overrides;
  std::string json;
  StepBenchmark benchmark;
  int threads = 0;
};

absl::StatusOr<Config> OneRankConfig(const StepFlags& flags) {
  std::vector<std::string> overrides = flags.overrides;
  for (const char* axis : {"mesh.pp=1", "mesh.dp=1", "mesh.cp=1", "mesh.tp=1"}) overrides.push_back(axis);
  absl::StatusOr<Config> config = LoadConfig(flags.config, overrides);
  if (!config.ok()) return config;
  if (absl::Status status = ResolveMesh(&*config, 1); !status.ok()) return status;
  if (config->train().dtype() == "fp64") {
    return absl::InvalidArgumentError(
        "train.dtype: fp64: there is no library product to compare with; use fp32 or bf16");
  }
  return config;
}

int RunStep(const StepFlags& flags) {
  const absl::StatusOr<Config> config = OneRankConfig(flags);
  if (!config.ok()) {
    PrintError(config.status());
    return kExitConfig;
  }
  StepBenchmark benchmark = flags.benchmark;
  benchmark.num_threads = flags.threads > 0 ? flags.threads : ReadEnvironment().num_threads;
  LaunchEnvironment environment = ReadEnvironment();
  environment.num_threads = benchmark.num_threads;
  const absl::StatusOr<std::unique_ptr<Device>> device = OpenDevice(*config, environment);
  if (!device.ok()) {
    PrintError(device.status());
    return kExitConfig;
  }
  const StepBenchmarkReport report = BenchmarkStep(*config, benchmark, **device);
  std::fputs(report.ToString().c_str(), stdout);
  if (flags.json.empty()) return kExitFinished;
  std::ofstream file(flags.json, std::ios::binary);
  file << report.ToJson();
  file.close();
  if (!file) {
    PrintError(absl::UnavailableError(absl::StrCat(flags.json, ": cannot write the report there")));
    return kExitIo;
  }
  return kExitFinished;
}

struct KernelFlags {
  std::string dtype = "fp32";
  int threads = 0;
};

int RunKernels(const KernelFlags& flags) {
  const DType dtype = flags.dtype == "bf16" ? DType::kBF16 : DType::kF32;
  const int num_threads = flags.threads > 0 ? flags.threads : ReadEnvironment().num_threads;
  absl::PrintF("%s, %d threads; what moves data:\n  %-26s %10s %10s %12s\n", flags.dtype, num_threads,
               "kernel", "ms", "GB/s", "of memcpy");
  for (const KernelTiming& timing : BenchmarkKernels({.compute = dtype, .num_threads = num_threads})) {
    absl::PrintF("  %-26s %10.3f %10.2f %10.1f %%\n", timing.name, timing.seconds * 1e3,
                 timing.bytes / timing.seconds / 1e9, timing.share_of_memcpy * 100);
  }
  absl::PrintF("\nproducts and attention of GPT-2 124M:\n  %-34s %10s %10s %10s\n", "product", "ms",
               "GFLOP/s", "of peak");
  for (const ProductTiming& timing : BenchmarkProducts({.compute = dtype, .num_threads = num_threads})) {
    absl::PrintF("  %-34s %10.3f %10.1f %8.1f %%\n", timing.name, timing.seconds * 1e3, timing.gflops,
                 timing.share_of_peak * 100);
  }
  return kExitFinished;
}

void AddStep(CLI::App& bench, CommandBody* body) {
  CLI::App* command = bench.add_subcommand("step", "Time training steps of a recipe in one process.");
  auto flags = std::make_shared<StepFlags>();
  command->add_option("--config", flags->config, "The recipe, a .textproto file")
      ->type_name("FILE")
      ->required();
  command
      ->add_option("--set", flags->overrides,
                   "Replace a field of the recipe, as in --set train.dtype=bf16; repeatable")
      ->type_name("FIELD=VALUE")
      ->allow_extra_args(false);
  command->add_option("--json", flags->json, "Also write the figures here")->type_name("FILE");
  command->add_option("--steps", flags->benchmark.num_steps, "Steps to time, after two that warm up")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command->add_option("--threads", flags->threads, "Threads (default: OMP_NUM_THREADS, else all cores)")
      ->check(CLI::PositiveNumber);
  command->footer(
      "Every axis of the mesh is set to 1, and tokens are made up: no data and no MPI are needed. "
      "share_of_peak is\n"
      "flops_per_token x tokens_per_second over the best product of the library in the same run, where\n"
      "flops_per_token are the matrix products that the mathematics needs: causal attention counted half, "
      "nothing\n"
      "recomputed counted.\n"
      "Example: trireme bench step --config configs/gpt2_124m.textproto --json step.json");
  command->callback([flags, body] { *body = [flags] { return RunStep(*flags); }; });
}

void AddKernels(CLI::App& bench, CommandBody* body) {
  CLI::App* command =
      bench.add_subcommand("kernels", "Time the kernels alone, beside memcpy and the best product.");
  auto flags = std::make_shared<KernelFlags>();
  command->add_option("--dtype", flags->dtype, "fp32 or bf16")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  command->add_option("--threads", flags->threads, "Threads (default: OMP_NUM_THREADS, else all cores)")
      ->check(CLI::PositiveNumber);
  command->callback([flags, body] { *body = [flags] { return RunKernels(*flags); }; });
}

}  // namespace

void AddBenchCommand(CLI::App& app, CommandBody* body) {
  CLI::App* command = app.add_subcommand("bench", "Measure the speed of a training step, or of kernels.");
  command->require_subcommand(1);
  AddStep(*command, body);
  AddKernels(*command, body);
}

}  // namespace trireme
