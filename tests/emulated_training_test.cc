// A whole training step on the CUDA backend, device and kernels of runtime/cuda as they are, in the emulator
// or on a GPU (cuda_tests): the losses and gradients are those of the CPU backend.
#include <glog/logging.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <thread>

#include "absl/strings/str_join.h"
#include "launch/bench_kernels.h"
#include "launch/gemm_choices.h"
#include "launch/trainer.h"
#include "parallel/host_staged_communicator.h"
#include "parallel/self_communicator.h"
#include "runtime/clock.h"
#include "runtime/cuda_backend.h"
#include "tests/emulator/emulator.h"
#ifndef TRIREME_GPU_TESTS
#include "tests/emulator/streams.h"
#endif
#include "tests/mesh_run.h"

namespace trireme {
namespace {

std::unique_ptr<Device> MakeEmulatedGpu() {
  absl::StatusOr<std::unique_ptr<Device>> device = OpenCudaDevice(0);
  CHECK(device.ok()) << device.status();
  return *std::move(device);
}

// Small enough to emulate, odd enough to reach the tails.
const std::vector<std::string> kSmall = {"train.sequence_length=24", "train.global_batch=4",
                                         "train.micro_batch=1", "optimizer.learning_rate=5e-4",
                                         "optimizer.epsilon=1e-5"};

struct TrainingCase {
  const char* name;
  const char* recipe;
  const char* dtype;
  std::vector<std::string> mesh;
  double loss_tolerance;      // relative, over three steps
  double gradient_tolerance;  // of the norm of all gradients
};

class EmulatedTrainingTest : public testing::TestWithParam<TrainingCase> {};

TEST_P(EmulatedTrainingTest, TrainsAsTheCpuDoes) {
  const TrainingCase& c = GetParam();
  std::vector<std::string> overrides = kSmall;
  overrides.insert(overrides.end(), c.mesh.begin(), c.mesh.end());
  overrides.push_back(std::string("train.dtype=") + c.dtype);
#ifndef TRIREME_GPU_TESTS
  const int64_t blocks_before = emulator::NumBlocksRun();
#endif
  const MeshRunResult gpu =
      RunOnThreads(c.recipe, overrides, 3, {}, MakeEmulatedGpu, {.wrap_world = StageThroughHost});
#ifndef TRIREME_GPU_TESTS
  EXPECT_GT(emulator::NumBlocksRun(), blocks_before + 1000) << "the kernels did not run in the emulator";
#endif
  const MeshRunResult cpu = RunOnThreads(c.recipe, overrides, 3);

  EXPECT_EQ(gpu.allocations_in_steps, 0);
  EXPECT_EQ(gpu.initial_parameters, cpu.initial_parameters);
  if (c.dtype == std::string("fp32")) {
    EXPECT_EQ(gpu.dropped_choices, cpu.dropped_choices);
  }
  EXPECT_NEAR(gpu.evaluation, cpu.evaluation, c.loss_tolerance * cpu.evaluation);
  for (size_t i = 0; i < cpu.losses.size(); ++i) {
    EXPECT_NEAR(gpu.losses[i], cpu.losses[i], c.loss_tolerance * cpu.losses[i]) << "step " << i + 1;
  }
  const double norm = GlobalNorm(cpu.gradients);
  ASSERT_EQ(gpu.gradients.size(), cpu.gradients.size());
  for (const auto& [name, tensor] : cpu.gradients) {
    EXPECT_LE(RelativeDistance(gpu.gradients.at(name), tensor, norm), c.gradient_tolerance) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Every, EmulatedTrainingTest,
    testing::Values(TrainingCase{"gpt2_fp32", "tiny_gpt2.textproto", "fp32", {"mesh.dp=1"}, 1e-6, 1e-5},
                    TrainingCase{"llama_fp32", "tiny_llama.textproto", "fp32", {"mesh.dp=1"}, 1e-6, 1e-5},
                    TrainingCase{"mixtral_fp32", "tiny_mixtral.textproto", "fp32", {"mesh.dp=1"}, 1e-6, 1e-5},
                    TrainingCase{"mixtral_bf16", "tiny_mixtral.textproto", "bf16", {"mesh.dp=1"}, 2e-3, 2e-2},
                    TrainingCase{
                        "mixtral_fp32_limited",
                        "tiny_mixtral.textproto",
                        "fp32",
                        {"mesh.dp=1", "model.num_hidden_layers=2", "model.expert_capacity_factor=0.7"},
                        1e-6,
                        1e-5},
                    TrainingCase{"gpt2_bf16", "tiny_gpt2.textproto", "bf16", {"mesh.dp=1"}, 2e-3, 2e-2},
                    TrainingCase{"llama_bf16", "tiny_llama.textproto", "bf16", {"mesh.dp=1"}, 2e-3, 2e-2}),
    [](const auto& info) { return std::string(info.param.name); });

// Also on a GPU, where cuBLASLt is asked and timed.
TEST(EmulatedChoicesTest, ProductsAreTimedInThePlansOwnMemory) {
  const std::string path = testing::TempDir() + "emulated_gemm_choices.json";
  std::remove(path.c_str());
  std::vector<std::string> settings = kSmall;
  settings.emplace_back("train.dtype=bf16");
  const auto train = [&](int64_t timed, int64_t kept) {
    return RunOnThreads("tiny_gpt2.textproto", settings, 2, {}, MakeEmulatedGpu,
                        {.prepare = [&](Trainer& trainer, Communicator& world, Device& device) {
                          GemmChoiceReport report;
                          const std::vector<GemmUse> uses = trainer.Gemms();
                          const absl::Status status =
                              ChooseGemms(uses, path, world, OpenCudaGemmLibrary(device).get(), &report);
                          EXPECT_TRUE(status.ok()) << status;
                          EXPECT_EQ(report.timed, timed < 0 ? uses.size() : timed);
                          EXPECT_EQ(report.kept, kept < 0 ? uses.size() : kept);
                          EXPECT_GT(uses.size(), 8);
                        }});
  };
  // On a thread of its own, as choices are a thread's.
  std::thread([&] {
    const MeshRunResult first = RunOnThreads("tiny_gpt2.textproto", settings, 2, {}, MakeEmulatedGpu);
    const MeshRunResult timed = train(-1, 0);
    const MeshRunResult kept = train(0, -1);
    EXPECT_EQ(timed.losses, kept.losses);
    EXPECT_EQ(timed.gradients, kept.gradients);
#ifndef TRIREME_GPU_TESTS  // where the first proposal may be the fastest
    EXPECT_NE(first.gradients, timed.gradients) << "the products do not use what was chosen";
#endif
    // With its product in one, GELU is taken of what is not rounded yet.
    for (size_t i = 0; i < first.losses.size(); ++i) {
      EXPECT_NEAR(first.losses[i], timed.losses[i], 2e-3 * first.losses[i]);
    }
  }).join();
  std::remove(path.c_str());
}

void ExpectSameBits(const MeshRunResult& a, const MeshRunResult& b) {
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.evaluation, b.evaluation);
  EXPECT_TRUE(a.gradients == b.gradients);
  EXPECT_TRUE(a.parameters == b.parameters);
}

// Two steps run as they are and are captured; the third and most micro-batches before it are replayed.
void ExpectGraphsChangeNothing(const char* recipe, std::vector<std::string> settings) {
  settings.insert(settings.end(), kSmall.begin(), kSmall.end());
  const MeshRunResult replayed = RunOnThreads(recipe, settings, 3, {}, MakeEmulatedGpu);
  settings.emplace_back("train.cuda_graphs=false");
  ExpectSameBits(replayed, RunOnThreads(recipe, settings, 3, {}, MakeEmulatedGpu));
}

TEST(EmulatedGraphsTest, ReplayedSegmentsGiveTheSameBits) {
  ExpectGraphsChangeNothing("tiny_gpt2.textproto", {"train.dtype=bf16", "model.dropout=0.1"});
}

#ifndef TRIREME_GPU_TESTS
TEST(EmulatedGraphsTest, ReplayedSegmentsGiveTheSameBitsOnAMesh) {
  ExpectGraphsChangeNothing("tiny_llama.textproto",
                            {"train.dtype=bf16", "mesh.dp=2", "mesh.tp=2", "mesh.pp=2",
                             "parallel.zero_stage=3", "parallel.recompute=full"});
}

// Whatever the mesh; from the third step on by graphs.
void ExpectSameBitsOnMeshes(const char* recipe, const std::vector<std::string>& settings,
                            const std::vector<std::vector<std::string>>& meshes) {
  const auto train = [&](const std::vector<std::string>& mesh) {
    std::vector<std::string> all = kSmall;
    all.emplace_back("numerics.mesh_invariant_sum=true");
    all.insert(all.end(), settings.begin(), settings.end());
    all.insert(all.end(), mesh.begin(), mesh.end());
    return RunOnThreads(recipe, all, 3, {}, MakeEmulatedGpu, {.wrap_world = StageThroughHost});
  };
  const MeshRunResult expected = train({"mesh.dp=1"});
  ASSERT_TRUE(std::isfinite(expected.norms.back()) && expected.norms.back() > 0);
  for (const std::vector<std::string>& mesh : meshes) {
    SCOPED_TRACE(absl::StrJoin(mesh, " "));
    const MeshRunResult found = train(mesh);
    ExpectSameBits(found, expected);
    EXPECT_EQ(found.norms, expected.norms);
  }
}

TEST(EmulatedInvarianceTest, NoMeshShows) {
  ExpectSameBitsOnMeshes("tiny_llama.textproto", {"model.num_hidden_layers=2", "train.sequence_length=12"},
                         {{"mesh.dp=2", "parallel.zero_stage=0"},
                          {"mesh.dp=2", "parallel.zero_stage=3"},
                          {"mesh.dp=2", "mesh.pp=2", "parallel.zero_stage=3", "parallel.recompute=full"}});
}

TEST(EmulatedInvarianceTest, NoMeshShowsOfTiedGpt2InBf16) {
  ExpectSameBitsOnMeshes(
      "tiny_gpt2.textproto",
      {"train.dtype=bf16", "model.dropout=0.1", "model.num_hidden_layers=2", "train.sequence_length=12"},
      {{"mesh.dp=2", "mesh.pp=2", "parallel.zero_stage=2"}});
}

// Streams that do their work as late, or as early, as events allow: a missing one shows.
TEST(EmulatedStreamsTest, SamplesTravelOnAStreamOfTheirOwn) {
  std::vector<MeshRunResult> results;
  for (const auto mode : {emulator::StreamMode::kAtOnce, emulator::StreamMode::kWhenAsked,
                          emulator::StreamMode::kOthersFirst}) {
    emulator::SetStreamMode(mode);
    // Collectives of one rank are copies, in the order of the device's stream.
    const auto wrap = [](Communicator&, Device& device) {
      return std::make_unique<SelfCommunicator>(&device);
    };
    results.push_back(
        RunOnThreads("tiny_gpt2.textproto", kSmall, 3, {}, MakeEmulatedGpu, {.wrap_world = wrap}));
  }
  emulator::SetStreamMode(emulator::StreamMode::kAtOnce);
  for (const MeshRunResult& result : results) ExpectSameBits(result, results[0]);
}
#endif

// Also on a GPU (cuda_tests), where the marks are times of the device's own clock.
TEST(EmulatedTimingTest, MarksLieBetweenWhatTheHostReadsAround) {
  const std::unique_ptr<Device> device = MakeEmulatedGpu();
  for (int round = 0; round < 2; ++round) {  // the second uses the first one's marks again
    device->StartTiming();
    const double before = NowSeconds();
    const TimeMark first = device->MarkTime(0);
    const TimeMark second = device->MarkTime(0);
    device->Synchronize(0);
    const double after = NowSeconds();
    constexpr double kHostLatency = 1e-3;
    EXPECT_GE(device->SecondsAt(first), before - kHostLatency);
    EXPECT_GE(device->SecondsAt(second), device->SecondsAt(first));
    EXPECT_LE(device->SecondsAt(second), after + kHostLatency);
  }
}

// On a device whose memory the host must not touch.
TEST(EmulatedBenchmarkTest, TimesEveryKernel) {
  const std::unique_ptr<Device> device = MakeEmulatedGpu();
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    const KernelSizes sizes = {{.compute = compute,
                                .tokens = 32,
                                .width = 192,
                                .vocabulary = 96,
                                .head_tokens = 4,
                                .head_size = 32,
                                .repetitions = 1},
                               {{.compute = compute,
                                 .tokens = 32,
                                 .width = 64,
                                 .vocabulary = 96,
                                 .heads = 1,
                                 .sequence_lengths = {32},
                                 .repetitions = 1}}};
    const KernelReport report = ReportKernels(sizes, 100, *device);
    EXPECT_EQ(report.rows[0].name, "copy");
    for (const KernelRow& row : report.rows) EXPECT_GT(row.share, 0) << row.name;
    EXPECT_NE(report.ToJson().find("\"gate\": 0.88"), std::string::npos);
  }
}

// Ranks that are threads, on one GPU.
INSTANTIATE_TEST_SUITE_P(
    Mesh, EmulatedTrainingTest,
    testing::Values(TrainingCase{"llama_bf16_mesh",
                                 "tiny_llama.textproto",
                                 "bf16",
                                 {"mesh.dp=2", "mesh.tp=2", "mesh.pp=2", "parallel.sequence_parallel=true",
                                  "parallel.zero_stage=3"},
                                 2e-3,
                                 2e-2},
                    TrainingCase{"mixtral_fp32_mesh",
                                 "tiny_mixtral.textproto",
                                 "fp32",
                                 {"mesh.dp=2", "mesh.tp=2", "mesh.pp=2", "parallel.sequence_parallel=true",
                                  "parallel.zero_stage=3"},
                                 1e-6,
                                 1e-5},
                    TrainingCase{"mixtral_fp32_experts",
                                 "tiny_mixtral.textproto",
                                 "fp32",
                                 {"mesh.dp=2", "mesh.tp=2", "mesh.ep=2", "model.num_local_experts=4"},
                                 1e-6,
                                 1e-5},
                    TrainingCase{"mixtral_fp32_all_to_all",
                                 "tiny_mixtral.textproto",
                                 "fp32",
                                 {"mesh.cp=2", "parallel.context_form=all_to_all"},
                                 1e-6,
                                 1e-5},
                    TrainingCase{"mixtral_fp32_ring",
                                 "tiny_mixtral.textproto",
                                 "fp32",
                                 {"mesh.cp=2", "model.num_hidden_layers=2"},
                                 1e-6,
                                 1e-5},
                    TrainingCase{
                        "llama_fp32_ring", "tiny_llama.textproto", "fp32", {"mesh.cp=2"}, 1e-6, 1e-5},
                    TrainingCase{"gpt2_bf16_ring", "tiny_gpt2.textproto", "bf16", {"mesh.cp=2"}, 2e-3, 2e-2},
                    TrainingCase{"bloom_fp32_ring",
                                 "tiny_bloom.textproto",
                                 "fp32",
                                 {"mesh.cp=2", "mesh.tp=2", "model.num_hidden_layers=2"},
                                 1e-6,
                                 1e-5},
                    TrainingCase{"llama_fp32_all_to_all",
                                 "tiny_llama.textproto",
                                 "fp32",
                                 {"mesh.cp=2", "parallel.context_form=all_to_all"},
                                 1e-6,
                                 1e-5}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace trireme
