// The memory plans of whole models, run on paper: nothing that lives is written over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "launch/rank_plan.h"
#include "parallel/mesh.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/program_test_util.h"
#include "tests/mesh_run.h"

namespace trireme {
namespace {

void ExpectSound(const std::string& recipe, const std::vector<std::string>& overrides) {
  const Config config = TestConfig(recipe, overrides);
  const AxisSizes mesh = MeshSizes(config);
  for (int rank = 0; rank < mesh.product(); ++rank) {
    SCOPED_TRACE(recipe + " " + absl::StrJoin(overrides, " ") + " rank " + std::to_string(rank));
    // Two threads: workspaces of the fast kernels grow with them.
    const CpuDevice device(2);
    const RankPlan plan = MakeRankPlan(config, CoordinateOf(rank, mesh), device);
    for (size_t p = 0; p < plan.step.programs.size(); ++p) {
      EXPECT_THAT(MemoryViolations(*plan.step.programs[p], plan.step_memory[p], device), testing::IsEmpty());
    }
    for (size_t p = 0; p < plan.evaluation.programs.size(); ++p) {
      EXPECT_THAT(MemoryViolations(*plan.evaluation.programs[p], plan.evaluation_memory[p], device),
                  testing::IsEmpty());
    }
  }
}

TEST(MemoryPlanOfModelsTest, NoTwoLiveValuesShareMemory) {
  for (const char* recipe : {"tiny_llama.textproto", "tiny_gpt2.textproto"}) {
    for (const char* recompute : {"none", "selective", "full"}) {
      for (const char* dtype : {"fp32", "bf16", "fp64"}) {
        ExpectSound(recipe, {std::string("parallel.recompute=") + recompute,
                             std::string("train.dtype=") + dtype, "mesh.dp=1", "train.micro_batch=2"});
      }
      ExpectSound(recipe,
                  {std::string("parallel.recompute=") + recompute, "mesh.dp=2", "mesh.pp=2",
                   "train.micro_batch=2", "numerics.mesh_invariant_sum=true", "pipeline.schedule=zb-v"});
      ExpectSound(recipe, {std::string("parallel.recompute=") + recompute, "mesh.dp=1", "mesh.pp=2",
                           "mesh.tp=2", "train.micro_batch=2", "model.dropout=0.1"});
      ExpectSound(recipe,
                  {std::string("parallel.recompute=") + recompute, "mesh.dp=1", "mesh.pp=2",
                   "train.micro_batch=2", "pipeline.schedule=interleaved", "pipeline.virtual_stages=2"});
      for (const char* schedule : {"pipeline.schedule=zb-h1", "pipeline.schedule=zb-v"}) {
        ExpectSound(recipe, {std::string("parallel.recompute=") + recompute, "mesh.dp=1", "mesh.pp=2",
                             "mesh.tp=2", "train.micro_batch=2", "model.dropout=0.1", schedule});
      }
    }
  }
}

RankPlan PlanOf(int zero_stage, const std::string& dtype, bool on_grid, int layers, const CpuDevice& device) {
  const Config config = TestConfig(
      "tiny_llama.textproto",
      {"mesh.dp=4", "train.micro_batch=1", absl::StrCat("train.dtype=", dtype),
       absl::StrCat("numerics.mesh_invariant_sum=", on_grid ? "true" : "false"),
       absl::StrCat("model.num_hidden_layers=", layers), absl::StrCat("parallel.zero_stage=", zero_stage)});
  return MakeRankPlan(config, {{0, 0, 0, 0}}, device);
}

// Matrices and vectors of the whole model, in elements, and the matrices of the largest segment.
struct Elements {
  explicit Elements(const Program& chunk) {
    std::map<int, double> of_segment;
    for (const ParameterGroup& group : chunk.parameters) {
      const Shape& shape = chunk.value(group.value).shape;
      const auto count = static_cast<double>(shape.num_elements());
      (shape.num_dims() == 2 ? matrices : vectors) += count;
      if (shape.num_dims() == 2) of_segment[group.segment] += count;
    }
    for (const auto& [segment, count] : of_segment) largest = std::max(largest, count);
  }
  double matrices = 0;
  double vectors = 0;
  double largest = 0;
};

// What each stage of ZeRO leaves on one of four ranks: bytes an element as in the table of
// parallel/README.md.
TEST(MemoryPlanOfModelsTest, ZeroLeavesAShardOfWhatItShares) {
  constexpr double kRanks = 4;
  const CpuDevice device(1);
  for (const auto& [dtype, on_grid] : {std::pair{"fp32", false}, {"bf16", false}, {"bf16", true}}) {
    const bool bf16 = dtype == std::string("bf16");
    for (int stage : {0, 1, 2, 3}) {
      SCOPED_TRACE(absl::StrCat(dtype, on_grid ? " on a grid" : "", ", ZeRO ", stage));
      const RankPlan plan = PlanOf(stage, dtype, on_grid, 8, device);
      const Elements n(*plan.chunks[0]);
      const double copies = (bf16 ? 2 : 4) * n.matrices / (stage >= 3 ? kRanks : 1) + 4 * n.vectors;
      const double masters = bf16 ? 4 * n.matrices / (stage >= 1 ? kRanks : 1) : 0;
      const double gradient = on_grid ? 8 : 4;
      const double gradients = gradient * (n.matrices / (stage >= 2 ? kRanks : 1) + n.vectors);
      const double moments = 8 * (n.matrices + n.vectors) / (stage >= 1 ? kRanks : 1);
      // Padding to whole shards, and the step's scalars.
      auto expect_near = [](int64_t planned, double formula) {
        EXPECT_GE(static_cast<double>(planned), formula);
        EXPECT_LE(static_cast<double>(planned), 1.01 * formula + 4096);
      };
      expect_near(plan.persistent.parameters, copies + masters);
      expect_near(plan.persistent.gradients, gradients);
      expect_near(plan.persistent.optimizer_state, moments);
      // Two segments' gradients, and with stage 3 two segments' parameters; gaps between them.
      const double whole = stage == 3 ? gradient + (bf16 ? 2 : 4) : stage == 2 ? gradient : 0;
      EXPECT_LE(static_cast<double>(plan.persistent.passing), 1.05 * 2 * whole * n.largest);
      EXPECT_EQ(plan.persistent.passing > 0, stage >= 2);
      EXPECT_EQ(plan.persistent.passing, PlanOf(stage, dtype, on_grid, 16, device).persistent.passing)
          << "grows with the model's depth";
    }
  }
}

}  // namespace
}  // namespace trireme
