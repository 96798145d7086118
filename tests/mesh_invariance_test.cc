// numerics.mesh_invariant_sum: on thread ranks, the bits of losses, norms and parameters are those of one
// rank, whatever the mesh, the ZeRO stage, the schedule and recompute. The micro-batch stays.
#include <gtest/gtest.h>

#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

}  // namespace
}  // namespace trireme
