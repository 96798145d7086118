// Pipelines whose sends complete only when their receive has been started, as large messages do: a StepPlan
// that waits in a wrong order stops for ever, which the thread ranks report.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/mesh_run.h"

namespace trireme {
namespace {

void ExpectRunsTheSame(const std::string& recipe, std::vector<std::string> overrides) {
  overrides.push_back("mesh.dp=1");
  overrides.push_back("train.micro_batch=1");
  constexpr int kSteps = 2;
  const MeshRunResult copied = RunOnThreads(recipe, overrides, kSteps);
  const MeshRunResult rendezvous = RunOnThreads(recipe, overrides, kSteps, {.rendezvous_sends = true});
  EXPECT_EQ(rendezvous.losses, copied.losses);
  EXPECT_EQ(rendezvous.parameters, copied.parameters);
}

class PipelineRendezvousTest : public testing::TestWithParam<std::tuple<const char*, int, int>> {};

TEST_P(PipelineRendezvousTest, RunsWithoutDeadlockToTheSameBits) {
  const auto& [schedule, num_stages, num_micro_batches] = GetParam();
  ExpectRunsTheSame("tiny_llama.textproto",
                    {absl::StrCat("pipeline.schedule=", schedule), absl::StrCat("mesh.pp=", num_stages),
                     absl::StrCat("train.global_batch=", num_micro_batches)});
}

INSTANTIATE_TEST_SUITE_P(SchedulesStagesMicroBatches, PipelineRendezvousTest,
                         testing::Combine(testing::Values("1f1b", "gpipe"), testing::Values(2, 3, 4),
                                          testing::Values(1, 2, 5)));

TEST(PipelineRendezvousTiedTest, RunsWithoutDeadlockToTheSameBits) {
  for (const char* schedule : {"1f1b", "gpipe"}) {
    ExpectRunsTheSame("tiny_gpt2.textproto", {absl::StrCat("pipeline.schedule=", schedule), "mesh.pp=3",
                                              "mesh.tp=2", "train.global_batch=4"});
  }
}

}  // namespace
}  // namespace trireme
