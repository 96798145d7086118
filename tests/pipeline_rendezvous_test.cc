// Pipelines whose sends complete only when their receive has been started, as large messages do: a StepPlan
// that waits in a wrong order stops for ever, which the thread ranks report.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/mesh_run.h"

namespace trireme {
namespace {

using Overrides = std::vector<std::string>;

void ExpectRunsTheSame(const std::string& recipe, Overrides overrides) {
  overrides.push_back("mesh.dp=1");
  overrides.push_back("train.micro_batch=1");
  constexpr int kSteps = 2;
  const MeshRunResult copied = RunOnThreads(recipe, overrides, kSteps);
  const MeshRunResult rendezvous = RunOnThreads(recipe, overrides, kSteps, {.rendezvous_sends = true});
  EXPECT_EQ(rendezvous.losses, copied.losses);
  EXPECT_EQ(rendezvous.parameters, copied.parameters);
}

struct ScheduleCase {
  const char* name;
  Overrides fields;
};

const ScheduleCase kSchedules[] = {
    {"1f1b", {"pipeline.schedule=1f1b"}},
    {"gpipe", {"pipeline.schedule=gpipe"}},
    {"interleaved", {"pipeline.schedule=interleaved", "pipeline.virtual_stages=2"}},
    {"interleaved, 3 chunks", {"pipeline.schedule=interleaved", "pipeline.virtual_stages=3"}},
    {"zb-h1", {"pipeline.schedule=zb-h1"}},
    {"zb-v", {"pipeline.schedule=zb-v"}},
};

class PipelineRendezvousTest : public testing::TestWithParam<std::tuple<ScheduleCase, int, int>> {};

TEST_P(PipelineRendezvousTest, RunsWithoutDeadlockToTheSameBits) {
  const auto& [schedule, num_stages, num_micro_batches] = GetParam();
  Overrides overrides = schedule.fields;
  overrides.insert(overrides.end(),
                   {absl::StrCat("mesh.pp=", num_stages),
                    absl::StrCat("train.global_batch=", num_micro_batches), "model.num_hidden_layers=12"});
  ExpectRunsTheSame("tiny_llama.textproto", overrides);
}

INSTANTIATE_TEST_SUITE_P(SchedulesStagesMicroBatches, PipelineRendezvousTest,
                         testing::Combine(testing::ValuesIn(kSchedules), testing::Values(2, 3, 4),
                                          testing::Values(1, 2, 5)));

TEST(PipelineRendezvousTiedTest, RunsWithoutDeadlockToTheSameBits) {
  for (const ScheduleCase& schedule : kSchedules) {
    Overrides overrides = schedule.fields;
    overrides.insert(overrides.end(),
                     {"mesh.pp=3", "mesh.tp=2", "train.global_batch=4", "model.num_hidden_layers=9"});
    ExpectRunsTheSame("tiny_gpt2.textproto", overrides);
  }
}

}  // namespace
}  // namespace trireme
