#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "parallel/schedule.h"
#include "parallel/schedule_simulator.h"

namespace trireme {
namespace {

using Stages = std::vector<std::vector<Work>>;

Stages Interleaved(int num_stages, int num_chunks, int num_micro_batches) {
  Stages stages;
  for (int s = 0; s < num_stages; ++s)
    stages.push_back(InterleavedSchedule({s, num_stages, num_chunks}, num_micro_batches));
  return stages;
}

Stages ZeroBubbleH1(int num_stages, int num_micro_batches) {
  Stages stages;
  for (int s = 0; s < num_stages; ++s)
    stages.push_back(ZeroBubbleH1Schedule(num_stages, s, num_micro_batches));
  return stages;
}

template <typename F>
void ForEachChunkedSize(F f) {
  for (int p : {2, 3, 4, 8}) {
    for (int v : {2, 3, 4}) {
      for (int m : {1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 33}) f(p, v, m);
    }
  }
}

TEST(InterleavedScheduleTest, TheBubbleIsThePublishedOneWhereTheStagesDivideTheMicroBatches) {
  ForEachChunkedSize([](int p, int v, int m) {
    if (m % p != 0) return;
    const auto simulation = Simulate(Interleaved(p, v, m));
    ASSERT_TRUE(simulation.ok()) << "p " << p << " v " << v << " m " << m << ": " << simulation.status();
    EXPECT_NEAR(simulation->bubble_fraction, (p - 1.0) / (v * m + p - 1.0), 1e-12)
        << "p " << p << " v " << v << " m " << m;
  });
}

TEST(InterleavedScheduleTest, ALastGroupThatIsNotFullTakesNoLongerThanAFullOne) {
  ForEachChunkedSize([](int p, int v, int m) {
    const auto simulation = Simulate(Interleaved(p, v, m));
    ASSERT_TRUE(simulation.ok()) << "p " << p << " v " << v << " m " << m << ": " << simulation.status();
    const int full = (m + p - 1) / p * p;
    EXPECT_LE(simulation->makespan, 3.0 * (v * full + p - 1)) << "p " << p << " v " << v << " m " << m;
    for (int s = 0; s < p; ++s)
      EXPECT_EQ(simulation->timeline[s].size(), 2u * v * m) << "p " << p << " v " << v << " m " << m;
  });
}

TEST(InterleavedScheduleTest, NoMoreThanTheForwardsAheadAndOneAreInFlight) {
  ForEachChunkedSize([](int p, int v, int m) {
    const auto simulation = Simulate(Interleaved(p, v, m));
    ASSERT_TRUE(simulation.ok()) << simulation.status();
    for (int s = 0; s < p; ++s)
      EXPECT_LE(simulation->max_in_flight[s], std::min(v * m, 2 * (p - 1 - s) + (v - 1) * p + 1));
  });
}

TEST(ZeroBubbleH1ScheduleTest, TheBubbleIsThePublishedOne) {
  for (int p : {1, 2, 3, 4, 8}) {
    for (int m : {8, 9, 16, 33}) {
      const auto simulation = Simulate(ZeroBubbleH1(p, m));
      ASSERT_TRUE(simulation.ok()) << "p " << p << " m " << m << ": " << simulation.status();
      EXPECT_NEAR(simulation->bubble_fraction, (p - 1.0) / (3.0 * m + p - 1), 1e-12)
          << "p " << p << " m " << m;
    }
  }
}

TEST(ZeroBubbleH1ScheduleTest, NoStageKeepsMoreThanTheFirstStageOf1F1B) {
  for (int p : {1, 2, 3, 4, 8}) {
    for (int m : {1, 2, 3, 4, 7, 8, 33}) {
      const auto simulation = Simulate(ZeroBubbleH1(p, m));
      ASSERT_TRUE(simulation.ok()) << "p " << p << " m " << m << ": " << simulation.status();
      for (int s = 0; s < p; ++s) EXPECT_EQ(simulation->max_in_flight[s], std::min(m, p));
    }
  }
}

}  // namespace
}  // namespace trireme
