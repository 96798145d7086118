// numerics.mesh_invariant_sum: on thread ranks, the bits of losses, norms and parameters are the same
// whatever dp, pp, the ZeRO stage, the schedule and recompute. The micro-batch stays, and so do the axes that
// cut it.
#include <gtest/gtest.h>

#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "launch/rank_plan.h"
#include "runtime/cpu/cpu_device.h"
#include "tests/mesh_run.h"

namespace trireme {
namespace {

using Overrides = std::vector<std::string>;

constexpr int kSteps = 3;

MeshRunResult Train(const std::string& recipe, const Overrides& settings, const Overrides& mesh,
                    int num_steps = kSteps) {
  Overrides all = {"numerics.mesh_invariant_sum=true", "train.micro_batch=1", "train.sequence_length=12"};
  all.insert(all.end(), settings.begin(), settings.end());
  all.insert(all.end(), mesh.begin(), mesh.end());
  return RunOnThreads(recipe, all, num_steps);
}

void ExpectSameBits(const MeshRunResult& found, const MeshRunResult& expected) {
  EXPECT_EQ(found.losses, expected.losses);
  EXPECT_EQ(found.z_losses, expected.z_losses);
  EXPECT_EQ(found.norms, expected.norms);
  EXPECT_EQ(found.evaluation, expected.evaluation);
  for (const auto& [name, tensor] : expected.gradients) {
    EXPECT_TRUE(found.gradients.at(name) == tensor) << "gradient of " << name;
  }
  for (const auto& [name, tensor] : expected.parameters) {
    EXPECT_TRUE(found.parameters.at(name) == tensor) << name;
  }
  EXPECT_EQ(found.parameters.size(), expected.parameters.size());
}

// The meshes and ways to run that must not show, and those alone.
const Overrides kMeshes[] = {
    {"mesh.dp=1", "parallel.zero_stage=0"},
    {"mesh.dp=1", "parallel.recompute=selective"},
    {"mesh.dp=1", "parallel.recompute=full"},
    {"mesh.dp=2", "parallel.zero_stage=0"},
    {"mesh.dp=2", "parallel.zero_stage=2", "mesh.pp=2", "parallel.recompute=full"},
    {"mesh.dp=4", "parallel.zero_stage=1"},
    {"mesh.dp=4", "parallel.zero_stage=3"},
    {"mesh.dp=8", "parallel.zero_stage=2"},
    {"mesh.dp=8", "parallel.zero_stage=3"},
    {"mesh.dp=1", "mesh.pp=4", "parallel.zero_stage=1"},
    {"mesh.dp=2", "mesh.pp=4", "parallel.zero_stage=3"},
    {"mesh.dp=2", "mesh.pp=2", "pipeline.schedule=gpipe"},
    {"mesh.dp=2", "mesh.pp=2", "pipeline.schedule=interleaved", "pipeline.virtual_stages=2"},
    {"mesh.dp=2", "mesh.pp=2", "pipeline.schedule=zb-h1", "parallel.zero_stage=2"},
    {"mesh.dp=2", "mesh.pp=2", "pipeline.schedule=zb-v", "parallel.zero_stage=3"},
    {"mesh.dp=1", "pipeline.schedule=zb-v"},
};

// On every `stride`-th of them.
void ExpectNoMeshShows(const std::string& recipe, const Overrides& settings, size_t stride = 1) {
  const MeshRunResult expected = Train(recipe, settings, {"mesh.dp=1"});
  ASSERT_TRUE(std::isfinite(expected.norms.back()) && expected.norms.back() > 0);
  for (size_t i = 0; i < std::size(kMeshes); i += stride) {
    SCOPED_TRACE(absl::StrJoin(kMeshes[i], " "));
    ExpectSameBits(Train(recipe, settings, kMeshes[i]), expected);
  }
}

TEST(MeshInvarianceTest, Llama) {
  ExpectNoMeshShows("tiny_llama.textproto", {"train.z_loss_coef=1e-3", "optimizer.clip_norm=0.5"});
}

TEST(MeshInvarianceTest, TiedGpt2InBf16) {
  ExpectNoMeshShows("tiny_gpt2.textproto", {"train.dtype=bf16", "model.dropout=0.1"});
}

// Gradients beyond what the grid holds.
TEST(MeshInvarianceTest, AStepThatOverflowsIsSkippedEverywhere) {
  for (const Overrides& mesh :
       {Overrides{"mesh.dp=1"}, {"mesh.dp=2", "mesh.pp=2", "parallel.zero_stage=3"}}) {
    const MeshRunResult run = Train("tiny_llama.textproto", {"train.z_loss_coef=1e6"}, mesh);
    for (int step = 0; step < kSteps; ++step) {
      EXPECT_TRUE(std::isfinite(run.losses[step]));
      EXPECT_EQ(run.norms[step], HUGE_VAL);
    }
    EXPECT_EQ(run.parameters, run.initial_parameters);
  }
}

TEST(MeshInvarianceTest, MixtralRoundedStochastically) {
  ExpectNoMeshShows("tiny_mixtral.textproto",
                    {"train.dtype=bf16", "optimizer.stochastic_rounding=true", "model.num_shared_experts=1",
                     "model.expert_capacity_factor=0.9"},
                    2);
}

// All of them add to one element, so that each may add less.
TEST(MeshInvarianceTest, RanksThatShareAMicroBatchShareTheLimit) {
  const auto limit_of = [](const Overrides& mesh) {
    Overrides all = {"numerics.mesh_invariant_sum=true", "train.micro_batch=1"};
    all.insert(all.end(), mesh.begin(), mesh.end());
    return MakeRankPlan(TestConfig("tiny_llama.textproto", all), {{0, 0, 0, 0}}, CpuDevice(1))
        .update_options.grid->limit;
  };
  const int64_t whole = limit_of({"mesh.dp=1"});
  EXPECT_EQ(limit_of({"mesh.dp=4", "mesh.pp=2"}), whole);
  EXPECT_EQ(limit_of({"mesh.tp=2"}), whole / 2);
  EXPECT_EQ(limit_of({"mesh.dp=2", "mesh.cp=2", "mesh.tp=2"}), whole / 4);
}

// Axes that cut a micro-batch, or join several: their sums in float are cut alike on every mesh that has
// them in the same sizes.
struct FixedAxes {
  const char* name;
  const char* recipe;
  Overrides settings;
  const char* least_dp;  // that the axes need
};

class MeshInvarianceOfFixedAxesTest : public testing::TestWithParam<FixedAxes> {};

TEST_P(MeshInvarianceOfFixedAxesTest, NoSplitOfTheRestShows) {
  const FixedAxes& c = GetParam();
  const std::string least_dp = absl::StrCat("mesh.dp=", c.least_dp);
  const MeshRunResult expected = Train(c.recipe, c.settings, {least_dp, "parallel.zero_stage=0"}, 2);
  ASSERT_TRUE(std::isfinite(expected.norms.back()) && expected.norms.back() > 0);
  for (const Overrides& mesh :
       {Overrides{"mesh.dp=4", "parallel.zero_stage=3"},
        {"mesh.dp=2", "mesh.pp=2", "parallel.zero_stage=2", "parallel.recompute=full"},
        {least_dp, "mesh.pp=2", "pipeline.schedule=zb-v", "parallel.zero_stage=1"}}) {
    SCOPED_TRACE(absl::StrJoin(mesh, " "));
    ExpectSameBits(Train(c.recipe, c.settings, mesh, 2), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Every, MeshInvarianceOfFixedAxesTest,
    testing::Values(
        FixedAxes{"Tensor", "tiny_llama.textproto", {"mesh.tp=2", "train.z_loss_coef=1e-3"}, "1"},
        FixedAxes{"TensorInDouble", "tiny_gpt2.textproto", {"mesh.tp=2", "train.dtype=fp64"}, "1"},
        FixedAxes{"Sequence",
                  "tiny_gpt2.textproto",
                  {"mesh.tp=2", "parallel.sequence_parallel=true", "train.dtype=bf16", "model.dropout=0.1"},
                  "1"},
        FixedAxes{"TensorOverFewerKeyHeads",
                  "tiny_llama.textproto",
                  {"mesh.tp=4", "model.num_key_value_heads=2"},
                  "1"},
        FixedAxes{"Ring", "tiny_llama.textproto", {"mesh.cp=2"}, "1"},
        FixedAxes{"AllToAll",
                  "tiny_llama.textproto",
                  {"mesh.cp=2", "parallel.context_form=all_to_all", "train.dtype=bf16",
                   "optimizer.stochastic_rounding=true"},
                  "1"},
        FixedAxes{"Experts", "tiny_mixtral.textproto", {"mesh.ep=2", "model.num_local_experts=4"}, "2"},
        FixedAxes{"ExpertsOverContextAndTensor",
                  "tiny_mixtral.textproto",
                  {"model.num_local_experts=4", "mesh.ep=2", "mesh.cp=2", "mesh.tp=2",
                   "parallel.sequence_parallel=true", "model.expert_capacity_factor=0.9"},
                  "1"}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace trireme
