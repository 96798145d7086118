// `trireme bench`: how fast a training step is, and its kernels alone.
#include <cstdio>
#include <fstream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "configs/exit_codes.h"
#include "configs/load.h"
#include "configs/validate.h"
#include "launch/bench_kernels.h"
#include "launch/bench_pipeline.h"
#include "launch/bench_step.h"
#include "launch/command.h"
#include "launch/environment.h"
#include "launch/open_device.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/cpu/gemm_peak.h"
#include "runtime/cuda_backend.h"

namespace trireme {
namespace {

struct StepFlags {
  std::string config;
  std::vector<std::string> overrides;
  std::string json;
  StepBenchmark benchmark;
  int threads = 0;
};

// Writes a report where --json says; nowhere if it says nothing.
int WriteReport(const std::string& json, const std::string& path) {
  if (path.empty()) return kExitFinished;
  std::ofstream file(path, std::ios::binary);
  file << json;
  file.close();
  if (!file) {
    PrintError(absl::UnavailableError(absl::StrCat(path, ": cannot write the report there")));
    return kExitIo;
  }
  return kExitFinished;
}

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
  const absl::StatusOr<StepBenchmarkReport> report = BenchmarkStep(*config, benchmark, **device);
  if (!report.ok()) {
    PrintError(report.status());
    return kExitConfig;
  }
  std::fputs(report->ToString().c_str(), stdout);
  return WriteReport(report->ToJson(), flags.json);
}

struct KernelFlags {
  std::string device = "cpu";
  std::string dtype = "fp32";
  std::string json;
  int threads = 0;
};

int RunKernels(const KernelFlags& flags) {
  const DType dtype = flags.dtype == "bf16" ? DType::kBF16 : DType::kF32;
  const int num_threads = flags.threads > 0 ? flags.threads : ReadEnvironment().num_threads;
  std::unique_ptr<Device> device;
  if (flags.device == "cuda") {
    absl::StatusOr<std::unique_ptr<Device>> gpu = OpenCudaDevice(0);
    if (!gpu.ok()) {
      PrintError(absl::InvalidArgumentError(
          absl::StrCat("--device cuda: ", gpu.status().message(), "; or use --device cpu")));
      return kExitConfig;
    }
    device = *std::move(gpu);
  } else {
    device = std::make_unique<CpuDevice>(num_threads);
  }
  const double peak =
      device->is_host() ? MeasureGemmPeak(dtype, num_threads) : MeasureCudaGemmPeak(dtype, *device);
  const KernelReport report = ReportKernels(SizesFor(dtype, *device), peak, *device);
  std::fputs(report.ToString().c_str(), stdout);
  return WriteReport(report.ToJson(), flags.json);
}

void AddPipeline(CLI::App& bench, CommandBody* body) {
  CLI::App* command = bench.add_subcommand(
      "pipeline", "Run every pipeline schedule with kernels that sleep, and time the bubble.");
  auto benchmark = std::make_shared<PipelineBenchmark>();
  auto json = std::make_shared<std::string>();
  command->add_option("--stages", benchmark->num_stages, "Stages, each a thread")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->add_option("--micro-batches", benchmark->num_micro_batches, "Micro-batches of a step")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--virtual-stages", benchmark->virtual_stages, "Chunks a stage where interleaved")
      ->check(CLI::Range(2, 64))
      ->capture_default_str();
  command->add_option("--forward-seconds", benchmark->forward_seconds, "Of a stage and micro-batch")
      ->check(CLI::Range(1e-4, 10.0))
      ->capture_default_str();
  command->add_option("--steps", benchmark->num_steps, "Steps to time, after one that warms up")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command->add_option("--json", *json, "Also write the figures here")->type_name("FILE");
  command->footer(
      "The planner's lists, the executor and its messages are the real ones; only kernels are replaced, so "
      "many stages\n"
      "tell the truth on few cores.\n"
      "Example: trireme bench pipeline --stages 8 --micro-batches 32");
  command->callback([benchmark, json, body] {
    *body = [benchmark, json] {
      const PipelineBenchmarkReport report = BenchmarkPipelines(*benchmark);
      std::fputs(report.ToString().c_str(), stdout);
      return WriteReport(report.ToJson(), *json);
    };
  });
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
      bench.add_subcommand("kernels", "Time the kernels alone, beside a copy and the best product.");
  auto flags = std::make_shared<KernelFlags>();
  command->add_option("--device", flags->device, "cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--json", flags->json, "Also write the figures here")->type_name("FILE");
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
  AddPipeline(*command, body);
  AddKernels(*command, body);
}

}  // namespace trireme
