// What mesh_equality_test compares sees every collective and every message: each one that a step needs is
// left out in turn, and each time the run must differ from one rank's.
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_join.h"
#include "tests/mesh_run.h"
#include "tests/muted_communicator.h"

namespace trireme {
namespace {

using Overrides = std::vector<std::string>;

// As in mesh_equality_test.
constexpr double kTolerance = 1e-10;

bool Equal(double a, double b) {
  return std::abs(a - b) <= kTolerance * std::abs(b);
}

bool Equal(const GlobalTensors& a, const GlobalTensors& b, double scale) {
  for (const auto& [name, tensor] : b) {
    // Not-a-number is unequal too.
    if (!(RelativeDistance(a.at(name), tensor, scale) <= kTolerance)) return false;
  }
  return true;
}

bool Equal(const MeshRunResult& a, const MeshRunResult& b) {
  for (size_t i = 0; i < b.losses.size(); ++i) {
    if (!Equal(a.losses[i], b.losses[i]) || !Equal(a.norms[i], b.norms[i])) return false;
  }
  return a.dropped_choices == b.dropped_choices && Equal(a.evaluation, b.evaluation) &&
         Equal(a.gradients, b.gradients, GlobalNorm(b.gradients)) && Equal(a.parameters, b.parameters, 1e-3);
}

class MutationTest : public testing::Test {
 protected:
  void ExpectEveryOperationCounts(const std::string& recipe, Overrides settings, const Overrides& mesh) {
    SCOPED_TRACE(recipe + " " + absl::StrJoin(mesh, " "));
    settings.push_back("train.dtype=fp64");
    Overrides one = settings, many = settings;
    one.push_back("mesh.dp=1");
    many.insert(many.end(), mesh.begin(), mesh.end());
    const MeshRunResult expected = RunOnThreads(recipe, one, kSteps);
    // What the last step gathers is for a step that does not come: operations are those of the steps before
    // it.
    OperationCounts counts;
    Run(recipe, many, kSteps - 1, {}, &counts);
    const std::vector<MutedOperation> all = counts.All();
    ASSERT_GT(all.size(), 10u);
    ASSERT_TRUE(Equal(Run(recipe, many, kSteps, {}, nullptr), expected));
    for (const MutedOperation& muted : all) {
      EXPECT_FALSE(Equal(Run(recipe, many, kSteps, muted, nullptr), expected))
          << "nobody missed " << muted.ToString();
    }
    std::printf("%zu operations left out in turn: %s %s\n", all.size(), recipe.c_str(),
                absl::StrJoin(mesh, " ").c_str());
  }

 private:
  static constexpr int kSteps = 2;

  static MeshRunResult Run(const std::string& recipe, const Overrides& overrides, int num_steps,
                           MutedOperation muted, OperationCounts* counts) {
    return RunOnThreads(
        recipe, overrides, num_steps, {}, MakeCpuDevice,
        {.wrap_world = [&](Communicator& world, Device&) { return MuteOne(world, muted, counts); }});
  }
};

const Overrides kSmall = {"model.num_hidden_layers=2", "train.sequence_length=8", "train.global_batch=4",
                          "train.micro_batch=4"};

TEST_F(MutationTest, TensorAndDataParallelLlama) {
  ExpectEveryOperationCounts("tiny_llama.textproto", kSmall,
                             {"mesh.dp=2", "mesh.tp=2", "train.micro_batch=1"});
}
TEST_F(MutationTest, SequenceParallelLlama) {
  ExpectEveryOperationCounts(
      "tiny_llama.textproto", kSmall,
      {"mesh.dp=2", "mesh.tp=2", "train.micro_batch=1", "parallel.sequence_parallel=true"});
}
// Two replicas: over one, only the first rank has a loss, and nobody would miss the message that adds it up.
TEST_F(MutationTest, SequenceParallelLlamaWhoseRanksShareAKeyHead) {
  Overrides settings = kSmall;
  settings.push_back("model.num_key_value_heads=2");
  ExpectEveryOperationCounts(
      "tiny_llama.textproto", settings,
      {"mesh.dp=2", "mesh.tp=4", "train.micro_batch=1", "parallel.sequence_parallel=true"});
}
TEST_F(MutationTest, SequenceParallelMixtral) {
  Overrides settings = kSmall;
  settings.insert(settings.end(), {"model.router_aux_loss_coef=0.5", "model.router_z_loss_coef=0.1"});
  ExpectEveryOperationCounts(
      "tiny_mixtral.textproto", settings,
      {"mesh.dp=2", "mesh.tp=2", "train.micro_batch=1", "parallel.sequence_parallel=true"});
}
TEST_F(MutationTest, ExpertParallelMixtral) {
  Overrides settings = kSmall;
  settings.push_back("model.num_local_experts=4");
  ExpectEveryOperationCounts("tiny_mixtral.textproto", settings,
                             {"mesh.dp=4", "mesh.ep=2", "mesh.tp=2", "train.micro_batch=1"});
}
TEST_F(MutationTest, ExpertParallelMixtralInARingWhoseExpertsAreLimited) {
  Overrides settings = kSmall;
  settings.insert(settings.end(), {"model.num_local_experts=4", "model.expert_capacity_factor=0.5"});
  ExpectEveryOperationCounts("tiny_mixtral.textproto", settings,
                             {"mesh.cp=2", "mesh.dp=2", "mesh.ep=2", "train.micro_batch=1"});
}
TEST_F(MutationTest, ContextParallelGpt2ByAllToAll) {
  ExpectEveryOperationCounts(
      "tiny_gpt2.textproto", kSmall,
      {"mesh.dp=2", "mesh.cp=2", "train.micro_batch=1", "parallel.context_form=all_to_all"});
}
TEST_F(MutationTest, ContextParallelMixtralByAllToAll) {
  Overrides settings = kSmall;
  settings.insert(settings.end(), {"model.router_aux_loss_coef=0.5", "model.router_z_loss_coef=0.1"});
  ExpectEveryOperationCounts("tiny_mixtral.textproto", settings,
                             {"mesh.cp=2", "mesh.tp=2", "train.micro_batch=1",
                              "parallel.sequence_parallel=true", "parallel.context_form=all_to_all"});
}
TEST_F(MutationTest, ContextParallelLlamaInARing) {
  ExpectEveryOperationCounts("tiny_llama.textproto", kSmall,
                             {"mesh.cp=4", "mesh.dp=2", "train.micro_batch=1", "parallel.recompute=full"});
}
TEST_F(MutationTest, PipelineOfGpt2WithTiedEmbeddings) {
  ExpectEveryOperationCounts("tiny_gpt2.textproto", kSmall,
                             {"mesh.pp=2", "mesh.dp=2", "train.micro_batch=1"});
}
TEST_F(MutationTest, PipelineOfTensorParallelGpt2WithoutZero) {
  ExpectEveryOperationCounts("tiny_gpt2.textproto", kSmall,
                             {"mesh.pp=2", "mesh.dp=2", "mesh.tp=2", "train.micro_batch=2",
                              "parallel.zero_stage=0", "parallel.recompute=full"});
}
TEST_F(MutationTest, InterleavedPipelineOfGpt2) {
  Overrides settings = kSmall;
  settings.push_back("model.num_hidden_layers=4");
  ExpectEveryOperationCounts("tiny_gpt2.textproto", settings,
                             {"mesh.pp=2", "mesh.dp=2", "train.micro_batch=1",
                              "pipeline.schedule=interleaved", "pipeline.virtual_stages=2"});
}
TEST_F(MutationTest, ZeroBubblePipelinesOfGpt2) {
  Overrides settings = kSmall;
  settings.push_back("model.num_hidden_layers=4");
  for (const char* schedule : {"pipeline.schedule=zb-h1", "pipeline.schedule=zb-v"}) {
    ExpectEveryOperationCounts("tiny_gpt2.textproto", settings,
                               {"mesh.pp=2", "mesh.dp=2", "train.micro_batch=1", schedule});
  }
}

TEST_F(MutationTest, SharedGradientsOfATiedPipeline) {
  ExpectEveryOperationCounts("tiny_gpt2.textproto", kSmall,
                             {"mesh.pp=2", "mesh.dp=2", "train.micro_batch=1", "parallel.zero_stage=2"});
}

TEST_F(MutationTest, SharedParametersOfATensorParallelLlama) {
  ExpectEveryOperationCounts("tiny_llama.textproto", kSmall,
                             {"mesh.dp=2", "mesh.tp=2", "train.micro_batch=1", "parallel.zero_stage=3"});
}

}  // namespace
}  // namespace trireme
