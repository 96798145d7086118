// The memory plans of whole models, run on paper: nothing that lives is written over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
      ExpectSound(recipe, {std::string("parallel.recompute=") + recompute, "mesh.dp=1", "mesh.pp=2",
                           "mesh.tp=2", "train.micro_batch=2", "model.dropout=0.1"});
      ExpectSound(recipe,
                  {std::string("parallel.recompute=") + recompute, "mesh.dp=1", "mesh.pp=2",
                   "train.micro_batch=2", "pipeline.schedule=interleaved", "pipeline.virtual_stages=2"});
    }
  }
}

}  // namespace
}  // namespace trireme
