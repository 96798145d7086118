// Every mesh trains the same mixture of experts: loss, every gradient and every parameter equal one rank's,
// in double.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/mesh_run.h"

namespace trireme {
namespace {

// As in mesh_equality_test.cc.
constexpr double kTolerance = 1e-10;
constexpr int kSteps = 3;

using Overrides = std::vector<std::string>;

// Blocks and sequences that every axis divides; router losses that would show in every digit.
const Overrides kSettings = {"train.dtype=fp64",
                             "model.num_hidden_layers=4",
                             "train.sequence_length=12",
                             "train.global_batch=8",
                             "train.micro_batch=8",
                             "model.router_aux_loss_coef=0.5",
                             "model.router_z_loss_coef=0.1"};

MeshRunResult Train(const Overrides& mesh) {
  Overrides all = kSettings;
  all.insert(all.end(), mesh.begin(), mesh.end());
  return RunOnThreads("tiny_mixtral.textproto", all, kSteps);
}

void ExpectEqual(const GlobalTensors& found, const GlobalTensors& expected, double scale) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_EQ(found.count(name), 1) << name;
    EXPECT_LE(RelativeDistance(found.at(name), tensor, scale), kTolerance) << name;
  }
}

// `settings`: of both runs.
void ExpectEqualsOneRank(const Overrides& mesh, const Overrides& settings = {}) {
  SCOPED_TRACE(absl::StrJoin(mesh, " "));
  Overrides one_rank = {"mesh.dp=1"}, many_ranks = mesh;
  one_rank.insert(one_rank.end(), settings.begin(), settings.end());
  many_ranks.insert(many_ranks.end(), settings.begin(), settings.end());
  const MeshRunResult one = Train(one_rank), many = Train(many_ranks);
  ExpectEqual(many.initial_parameters, one.initial_parameters, 0);
  for (int i = 0; i < kSteps; ++i) {
    EXPECT_NEAR(many.losses[i], one.losses[i], kTolerance * one.losses[i]) << "step " << i;
    EXPECT_NEAR(many.norms[i], one.norms[i], kTolerance * one.norms[i]) << "step " << i;
  }
  EXPECT_EQ(many.dropped_choices, one.dropped_choices);
  EXPECT_NEAR(many.evaluation, one.evaluation, kTolerance * one.evaluation);
  ExpectEqual(many.gradients, one.gradients, GlobalNorm(one.gradients));
  ExpectEqual(many.parameters, one.parameters, 1e-3);
  EXPECT_EQ(many.allocations_in_steps, 0);
}

TEST(ExpertMeshTest, OneRankLearns) {
  const MeshRunResult run = RunOnThreads("tiny_mixtral.textproto", {"mesh.dp=1"}, 10);
  EXPECT_LT(run.losses.back(), run.losses.front() - 0.05);
}

TEST(ExpertMeshTest, EvaluationGivesTheLossThatTrainingReports) {
  const MeshRunResult run = Train({"mesh.dp=1"});
  EXPECT_NEAR(run.evaluation, run.losses[0], kTolerance * run.losses[0]);
}

TEST(ExpertMeshTest, TheRoutersLossesReachTheGradient) {
  const GlobalTensors with = Train({"mesh.dp=1"}).gradients;
  for (const char* off : {"model.router_aux_loss_coef=0", "model.router_z_loss_coef=0"}) {
    const GlobalTensors without = Train({"mesh.dp=1", off}).gradients;
    const std::string gate = "model.layers.0.block_sparse_moe.gate.weight";
    EXPECT_GT(RelativeDistance(without.at(gate), with.at(gate), 0), 1e-3) << off;
  }
}

TEST(ExpertMeshTest, ReplicasTrainAlike) {
  for (const char* stage :
       {"parallel.zero_stage=0", "parallel.zero_stage=1", "parallel.zero_stage=2", "parallel.zero_stage=3"}) {
    ExpectEqualsOneRank({"mesh.dp=2", "train.micro_batch=2", stage});
  }
}
TEST(ExpertMeshTest, TensorRanksShareEveryExpert) {
  ExpectEqualsOneRank({"mesh.tp=2", "mesh.dp=1"});
}
TEST(ExpertMeshTest, TensorRanksRouteTheirShareOfTheTokens) {
  ExpectEqualsOneRank({"mesh.tp=4", "mesh.dp=1", "parallel.sequence_parallel=true"});
  // A sequence on two ranks, and each rank with a part of two.
  ExpectEqualsOneRank({"mesh.tp=2", "mesh.dp=2", "train.micro_batch=1", "parallel.sequence_parallel=true"});
  ExpectEqualsOneRank({"mesh.tp=4", "mesh.dp=1", "parallel.sequence_parallel=true", "train.micro_batch=2"},
                      {"train.sequence_length=10"});
}
TEST(ExpertMeshTest, ExpertsDealtOutTrainAlike) {
  const Overrides experts = {"model.num_local_experts=4"};
  for (const char* stage : {"parallel.zero_stage=0", "parallel.zero_stage=1"}) {
    ExpectEqualsOneRank({"mesh.dp=2", "mesh.ep=2", "train.micro_batch=2", stage}, experts);
    ExpectEqualsOneRank({"mesh.dp=4", "mesh.ep=2", "train.micro_batch=1", stage}, experts);
    ExpectEqualsOneRank({"mesh.dp=4", "mesh.ep=4", "train.micro_batch=2", stage}, experts);
  }
}
TEST(ExpertMeshTest, ExpertsDealtOutOverStagesAndTensorRanksTrainAlike) {
  const Overrides experts = {"model.num_local_experts=8", "model.num_experts_per_tok=3"};
  for (const char* recompute : {"none", "selective", "full"}) {
    ExpectEqualsOneRank({"mesh.pp=2", "mesh.dp=2", "mesh.ep=2", "mesh.tp=2", "train.micro_batch=1",
                         absl::StrCat("parallel.recompute=", recompute)},
                        experts);
  }
  ExpectEqualsOneRank(
      {"mesh.dp=4", "mesh.ep=2", "mesh.tp=2", "train.micro_batch=1", "parallel.sequence_parallel=true"},
      experts);
}
TEST(ExpertMeshTest, SharedExpertsReachTheLossAndTrainAlike) {
  const Overrides shared = {"model.num_local_experts=4", "model.num_shared_experts=2"};
  ExpectEqualsOneRank({"mesh.dp=2", "mesh.ep=2", "mesh.tp=2", "train.micro_batch=1"}, shared);
  EXPECT_NE(Train({"mesh.dp=1", "model.num_shared_experts=2"}).losses[0], Train({"mesh.dp=1"}).losses[0]);
}
TEST(ExpertMeshTest, AnExpertsCapacityDropsAlikeOnEveryMesh) {
  const Overrides limited = {"model.num_local_experts=4", "model.expert_capacity_factor=0.7"};
  EXPECT_GT(Train({"mesh.dp=1", limited[0], limited[1]}).dropped_choices[0], 8);
  ExpectEqualsOneRank({"mesh.dp=2", "mesh.ep=2", "mesh.tp=2", "mesh.pp=2", "train.micro_batch=2"}, limited);
  ExpectEqualsOneRank(
      {"mesh.dp=2", "mesh.ep=2", "mesh.tp=2", "train.micro_batch=1", "parallel.sequence_parallel=true"},
      limited);
  for (const char* recompute : {"none", "selective", "full"}) {
    ExpectEqualsOneRank({"mesh.cp=2", "mesh.ep=4", "mesh.dp=2", "train.micro_batch=2",
                         absl::StrCat("parallel.recompute=", recompute)},
                        limited);
  }
  // A ring of three ranks, whose chunks begin within sequences, of which tp's ranks have parts.
  ExpectEqualsOneRank({"mesh.cp=3", "mesh.dp=1", "mesh.tp=2", "parallel.sequence_parallel=true",
                       "train.micro_batch=2", "pipeline.schedule=zb-h1"},
                      {"model.expert_capacity_factor=0.7", "train.sequence_length=18"});
  ExpectEqualsOneRank({"mesh.cp=2", "mesh.dp=2", "train.micro_batch=1", "parallel.context_form=all_to_all"},
                      limited);
}
TEST(ExpertMeshTest, RanksWhoseExpertsNobodyChoosesTrainAlike) {
  // Of 32 experts, most are empty in a micro-batch of one short sequence; so are some ranks' of eight.
  ExpectEqualsOneRank(
      {"mesh.dp=8", "mesh.ep=8", "train.micro_batch=1"},
      {"model.num_local_experts=32", "model.num_experts_per_tok=1", "train.sequence_length=1"});
}
TEST(ExpertMeshTest, StagesPayTheirOwnRoutersLosses) {
  ExpectEqualsOneRank({"mesh.pp=2", "mesh.dp=1", "train.micro_batch=2"});
  ExpectEqualsOneRank({"mesh.pp=4", "mesh.dp=1", "train.micro_batch=2", "pipeline.schedule=gpipe"});
}
TEST(ExpertMeshTest, AllAxesTogetherTrainAlike) {
  ExpectEqualsOneRank({"mesh.dp=2", "mesh.tp=2", "mesh.pp=2", "train.micro_batch=1"});
}
TEST(ExpertMeshTest, AccumulationAndRecomputeChangeNothing) {
  for (const char* recompute : {"none", "selective", "full"}) {
    ExpectEqualsOneRank({"mesh.dp=1", "train.micro_batch=1", absl::StrCat("parallel.recompute=", recompute)});
  }
}
TEST(ExpertMeshTest, ExpertsWithoutTokensTrainAlike) {
  // More experts than choices: of 32 most are empty in a micro-batch of one short sequence.
  ExpectEqualsOneRank({"mesh.dp=2", "mesh.tp=2", "train.micro_batch=1"},
                      {"model.num_local_experts=32", "model.num_experts_per_tok=1"});
}

}  // namespace
}  // namespace trireme
