#include "launch/bench_pipeline.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

// An op sleeps at least as long as it is told, so a step takes at least what its formula says; how much
// longer, and who is idle meanwhile, is the machine's business.
TEST(BenchPipelineTest, EveryScheduleRunsAndNoneIsFasterThanItsFormula) {
  const PipelineBenchmarkReport report =
      BenchmarkPipelines({.num_stages = 4, .num_micro_batches = 8, .forward_seconds = 4e-3, .num_steps = 1});
  ASSERT_EQ(report.rows.size(), std::size(kAllSchedules));
  for (const PipelineBenchmarkReport::Row& row : report.rows) {
    EXPECT_GT(row.step_seconds, 0.999 * 8 * 3 * 4e-3 / (1 - row.published)) << Name(row.kind);
    EXPECT_GT(row.measured, 0) << Name(row.kind);
    EXPECT_LT(row.measured, 1) << Name(row.kind);
  }
  EXPECT_NE(report.ToString().find("zb-v"), std::string::npos);
  EXPECT_NE(report.ToJson().find("\"interleaved\""), std::string::npos);
}

}  // namespace
}  // namespace trireme
