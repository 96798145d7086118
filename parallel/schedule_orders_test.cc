// The schedules that give a stage several chunks, or split its backward, against what their papers say.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "parallel/schedule.h"
#include "parallel/schedule_bubble.h"
#include "parallel/schedule_simulator.h"

namespace trireme {
namespace {

PipelineSimulation Simulated(ScheduleKind kind, int p, int v, int m) {
  const auto simulation =
      Simulate(ScheduleOfAllStages(kind, p, v, m), {}, kind == ScheduleKind::kZeroBubbleV);
  EXPECT_TRUE(simulation.ok()) << "p " << p << " v " << v << " m " << m << ": " << simulation.status();
  return simulation.ok() ? *simulation : PipelineSimulation();
}

template <typename F>
void ForEachChunkedSize(F f) {
  for (int p : {1, 2, 3, 4, 8}) {
    for (int v : {2, 3, 4}) {
      for (int m : {1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 33}) {
        SCOPED_TRACE(testing::Message() << "p " << p << " v " << v << " m " << m);
        f(p, v, m, Simulated(ScheduleKind::kInterleaved, p, v, m));
      }
    }
  }
}

TEST(InterleavedScheduleTest, TheBubbleIsThePublishedOneWhereTheStagesDivideTheMicroBatches) {
  ForEachChunkedSize([](int p, int v, int m, const PipelineSimulation& simulation) {
    const double published = PublishedBubble(ScheduleKind::kInterleaved, p, v, m);
    EXPECT_LE(simulation.bubble_fraction, published + 1e-12);
    if (m % p != 0) return;
    EXPECT_NEAR(simulation.bubble_fraction, (p - 1.0) / (v * m + p - 1.0), 1e-12);
    EXPECT_NEAR(simulation.bubble_fraction, published, 1e-12);
  });
}

TEST(InterleavedScheduleTest, ALastGroupThatIsNotFullTakesNoLongerThanAFullOne) {
  ForEachChunkedSize([](int p, int v, int m, const PipelineSimulation& simulation) {
    const int full = (m + p - 1) / p * p;
    EXPECT_LE(simulation.makespan, 3.0 * (v * full + p - 1));
    for (int s = 0; s < p; ++s) EXPECT_EQ(simulation.timeline[s].size(), 2u * v * m);
  });
}

TEST(InterleavedScheduleTest, NoMoreThanTheForwardsAheadAndOneAreInFlight) {
  ForEachChunkedSize([](int p, int v, int m, const PipelineSimulation& simulation) {
    for (int s = 0; s < p; ++s)
      EXPECT_LE(simulation.max_in_flight[s], std::min(v * m, 2 * (p - 1 - s) + (v - 1) * p + 1));
  });
}

TEST(ZeroBubbleH1ScheduleTest, TheBubbleIsThePublishedOne) {
  for (int p : {1, 2, 3, 4, 8}) {
    for (int m : {8, 9, 16, 33}) {
      EXPECT_NEAR(Simulated(ScheduleKind::kZeroBubbleH1, p, 1, m).bubble_fraction,
                  PublishedBubble(ScheduleKind::kZeroBubbleH1, p, 1, m), 1e-12)
          << "p " << p << " m " << m;
    }
  }
}

TEST(ZeroBubbleH1ScheduleTest, NoStageKeepsMoreThanTheFirstStageOf1F1B) {
  for (int p : {1, 2, 3, 4, 8}) {
    for (int m : {1, 2, 3, 4, 7, 8, 33}) {
      const PipelineSimulation simulation = Simulated(ScheduleKind::kZeroBubbleH1, p, 1, m);
      for (int s = 0; s < p; ++s) EXPECT_EQ(simulation.max_in_flight[s], std::min(m, p));
    }
  }
}

// The greedy order falls short of the paper's by less than a micro-batch.
TEST(ZeroBubbleVScheduleTest, TheStepIsWithinThreeUnitsOfThePublishedOne) {
  for (int p : {1, 2, 3, 4, 6, 8}) {
    for (int m : {2 * p, 2 * p + 1, 3 * p, 33}) {
      if (m < 2 * p) continue;
      const double makespan = Simulated(ScheduleKind::kZeroBubbleV, p, 2, m).makespan;
      EXPECT_GE(makespan, 6 * m + p - 1) << "p " << p << " m " << m;
      EXPECT_LE(makespan, 6 * m + p - 1 + 3) << "p " << p << " m " << m;
    }
  }
}

TEST(ZeroBubbleVScheduleTest, NoStageKeepsMoreThanTheFirstStageOf1F1B) {
  for (int p : {1, 2, 3, 4, 8, 16}) {
    for (int m : {1, 2, 3, 4, 7, 8, 33}) {
      const PipelineSimulation simulation = Simulated(ScheduleKind::kZeroBubbleV, p, 2, m);
      for (int s = 0; s < p; ++s) EXPECT_LE(simulation.max_in_flight[s], 2 * p);
    }
  }
}

// Parameters that both chunks hold get their gradients in one order, whatever is deferred.
TEST(ZeroBubbleVScheduleTest, WeightsFollowInTheOrderOfTheirInputs) {
  for (int p : {1, 2, 5}) {
    for (const std::vector<Work>& stage : ScheduleOfAllStages(ScheduleKind::kZeroBubbleV, p, 2, 9)) {
      std::vector<std::pair<int, int>> inputs, weights;
      for (const Work& work : stage) {
        if (work.kind == Work::kBackwardInput) inputs.emplace_back(work.chunk, work.micro_batch);
        if (work.kind == Work::kBackwardWeight) weights.emplace_back(work.chunk, work.micro_batch);
      }
      EXPECT_EQ(weights, inputs);
    }
  }
}

}  // namespace
}  // namespace trireme
