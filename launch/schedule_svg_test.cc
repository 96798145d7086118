#include "launch/schedule_svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme {
namespace {

using testing::HasSubstr;

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(ScheduleSvgTest, EveryPieceOfWorkIsABoxWithItsMicroBatch) {
  const auto simulation = Simulate(ScheduleOfAllStages(ScheduleKind::kZeroBubbleV, 3, 2, 6), {}, true);
  ASSERT_TRUE(simulation.ok()) << simulation.status();
  const std::string svg = ScheduleSvg(*simulation, "zb-v & more");
  EXPECT_EQ(Count(svg, "<title>F"), 3 * 2 * 6);
  EXPECT_EQ(Count(svg, "<title>I"), 3 * 2 * 6);
  EXPECT_EQ(Count(svg, "<title>W"), 3 * 2 * 6);
  EXPECT_EQ(Count(svg, "class=\"number\""), 3 * 6 * 6);
  EXPECT_EQ(Count(svg, "class=\"forward odd\""), 3 * 6);
  EXPECT_THAT(svg, HasSubstr("stage 2"));
  EXPECT_THAT(svg, HasSubstr("zb-v &amp; more"));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme: dark"));
}

TEST(ScheduleSvgTest, ANumberThatDoesNotFitIsLeftOut) {
  const PipelineSimulation simulation = {
      .makespan = 2, .timeline = {{{{Work::kForward, 0, 7}, 0, 1}, {{Work::kForward, 0, 1000}, 1, 2}}}};
  EXPECT_EQ(Count(ScheduleSvg(simulation, "wide"), "class=\"number\""), 1);
}

}  // namespace
}  // namespace trireme
