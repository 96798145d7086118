#include "parallel/step_planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "parallel/chunk_test_util.h"

namespace trireme {
namespace {

struct PlanCase {
  ScheduleKind schedule = ScheduleKind::k1F1B;
  int num_stages = 1;
  int stage = 0;
  int num_micro_batches = 1;
  int zero_stage = 1;
  int dp = 1;
  bool tied = false;

  bool has_input() const { return stage > 0; }
  bool has_output() const { return stage + 1 < num_stages; }
};

// One stage's plan with the programs that it names.
class Planned {
 public:
  explicit Planned(const PlanCase& c)
      : rank_({.has_input = c.has_input(),
               .has_output = c.has_output(),
               .ties_head = c.tied && c.num_stages == 1},
              c.zero_stage, c.dp, 0, 0, TiedParameter(c)),
        plan_(PlanTrainingStep({{&rank_.chunk().program()}, {c.stage, c.num_stages}}, rank_.update(),
                               rank_.buckets(),
                               Schedule(c.schedule, {c.stage, c.num_stages}, c.num_micro_batches),
                               c.num_micro_batches, c.zero_stage)) {}

  const StepPlan& plan() const { return plan_; }
  const std::vector<StepEntry>& entries() const { return plan_.entries; }
  const Program& chunk() const { return rank_.chunk().program(); }
  const std::vector<Bucket>& buckets() const { return rank_.buckets(); }
  const UpdateProgram& update() const { return rank_.update(); }

 private:
  static std::string TiedParameter(const PlanCase& c) {
    if (!c.tied || c.num_stages == 1) return "";
    return c.stage == 0 ? "embedding.weight" : c.has_output() ? "" : "head.weight";
  }
  TestStore rank_;
  StepPlan plan_;
};

template <typename F>
void ForEachCase(F f) {
  for (ScheduleKind schedule : {ScheduleKind::k1F1B, ScheduleKind::kGPipe}) {
    for (int stages : {1, 2, 3, 4}) {
      for (int stage = 0; stage < stages; ++stage) {
        for (int micro_batches : {1, 2, 5}) {
          const PlanCase c = {schedule, stages, stage, micro_batches, stage % 2, 2, stages > 1};
          SCOPED_TRACE(testing::Message() << Name(schedule) << " stage " << stage << " of " << stages << ", "
                                          << micro_batches << " micro-batches");
          f(c, Planned(c));
        }
      }
    }
  }
}

bool IsRun(const StepEntry& entry, const Planned& planned, Region region) {
  return entry.kind == StepKind::kRun && entry.program == 0 &&
         planned.chunk().segments[entry.segment].region == region;
}

TEST(StepPlannerTest, EveryStartHasOneWaitBehindIt) {
  ForEachCase([](const PlanCase&, const Planned& planned) {
    std::multiset<int> waited;
    for (int i = 0; i < planned.entries().size(); ++i) {
      const StepEntry& entry = planned.entries()[i];
      if (entry.kind != StepKind::kWait) continue;
      ASSERT_LT(entry.started, i);
      ASSERT_EQ(planned.entries()[entry.started].kind, StepKind::kStart);
      waited.insert(entry.started);
    }
    for (int i = 0; i < planned.entries().size(); ++i) {
      EXPECT_EQ(waited.count(i), planned.entries()[i].kind == StepKind::kStart ? 1 : 0) << i;
    }
  });
}

TEST(StepPlannerTest, SlotsAreTheMicroBatchesInFlight) {
  ForEachCase([](const PlanCase& c, const Planned& planned) {
    const int m = c.num_micro_batches;
    const int expected = c.schedule == ScheduleKind::kGPipe ? m : std::min(m, c.num_stages - c.stage);
    EXPECT_EQ(planned.plan().num_slots, expected);
  });
}

TEST(StepPlannerTest, ASlotIsOneMicroBatchsUntilItIsDone) {
  ForEachCase([](const PlanCase& c, const Planned& planned) {
    std::map<int, int> slot_of, owner;  // by micro-batch; by slot
    std::set<int> done;
    for (const StepEntry& entry : planned.entries()) {
      if (entry.program != 0 || entry.micro_batch < 0) continue;
      ASSERT_LT(entry.slot, planned.plan().num_slots);
      EXPECT_EQ(slot_of.emplace(entry.micro_batch, entry.slot).first->second, entry.slot);
      EXPECT_FALSE(done.contains(entry.micro_batch));
      const auto [held, is_new] = owner.emplace(entry.slot, entry.micro_batch);
      if (!is_new && held->second != entry.micro_batch) done.insert(held->second);
      held->second = entry.micro_batch;
    }
    EXPECT_EQ(slot_of.size(), c.num_micro_batches);
  });
}

// Nothing may be written into a slot from which a message is still being sent.
TEST(StepPlannerTest, ASlotIsReusedOnlyWhenItsSendsAreDone) {
  ForEachCase([](const PlanCase&, const Planned& planned) {
    std::map<int, int> sending;  // by entry: the slot
    for (int i = 0; i < planned.entries().size(); ++i) {
      const StepEntry& entry = planned.entries()[i];
      if (entry.kind == StepKind::kWait) sending.erase(entry.started);
      if (entry.kind == StepKind::kStart && entry.message == Message::kSend) sending[i] = entry.slot;
      if (entry.kind != StepKind::kLoad) continue;
      for (const auto& [start, slot] : sending) EXPECT_NE(slot, entry.slot) << "start " << start;
    }
  });
}

TEST(StepPlannerTest, WhatIsReceivedIsWaitedForBeforeItIsRead) {
  ForEachCase([](const PlanCase& c, const Planned& planned) {
    std::map<std::pair<ValueId, int>, bool> arrived;  // by value and micro-batch
    for (const StepEntry& entry : planned.entries()) {
      if (entry.kind == StepKind::kWait) {
        const StepEntry& start = planned.entries()[entry.started];
        if (start.program == 0 && start.message == Message::kReceive)
          arrived[{start.out, start.micro_batch}] = true;
      }
      if (IsRun(entry, planned, Region::kForward) && c.has_input()) {
        EXPECT_TRUE((arrived[{planned.chunk().stage_input, entry.micro_batch}]));
      }
      if (IsRun(entry, planned, Region::kBackward) && c.has_output()) {
        EXPECT_TRUE((arrived[{planned.chunk().stage_output_gradient, entry.micro_batch}]));
      }
    }
  });
}

TEST(StepPlannerTest, OnlyTheFirstBackwardOfAStepOverwritesGradients) {
  ForEachCase([](const PlanCase&, const Planned& planned) {
    int first = -1;
    for (const StepEntry& entry : planned.entries()) {
      if (!IsRun(entry, planned, Region::kBackward)) {
        EXPECT_FALSE(entry.accumulates);
        continue;
      }
      if (first < 0) first = entry.micro_batch;
      EXPECT_EQ(entry.accumulates, entry.micro_batch != first);
    }
  });
}

TEST(StepPlannerTest, EverySegmentRunsOnceForEveryMicroBatch) {
  ForEachCase([](const PlanCase& c, const Planned& planned) {
    std::map<std::tuple<int, int, int>, int> runs;
    for (const StepEntry& entry : planned.entries()) {
      if (entry.kind == StepKind::kRun) ++runs[{entry.program, entry.segment, entry.micro_batch}];
    }
    for (int s = 0; s < planned.chunk().segments.size(); ++s) {
      for (int m = 0; m < c.num_micro_batches; ++m) EXPECT_EQ((runs[{0, s, m}]), 1) << s << " " << m;
    }
    for (int s = 0; s < planned.update().program.segments.size(); ++s) EXPECT_EQ((runs[{1, s, -1}]), 1) << s;
  });
}

// The index of the entry that reduces (or gathers) a bucket over its replicas.
int StartOf(const Planned& planned, Message message, ValueId in) {
  for (int i = 0; i < planned.entries().size(); ++i) {
    const StepEntry& entry = planned.entries()[i];
    if (entry.kind == StepKind::kStart && planned.plan().channels[entry.channel] == "dp,cp" &&
        entry.message == message && entry.in == in) {
      return i;
    }
  }
  return -1;
}

TEST(StepPlannerTest, ABucketIsReducedOnceItIsCompleteWhileBackwardGoesOn) {
  const Planned planned({.num_micro_batches = 3, .dp = 2});
  for (size_t b = 0; b < planned.buckets().size(); ++b) {
    const int start = StartOf(planned, Message::kReduceScatter, planned.update().buckets[b].gradients);
    ASSERT_GE(start, 0);
    int last_run = -1;
    for (int i = 0; i < planned.entries().size(); ++i) {
      const StepEntry& entry = planned.entries()[i];
      if (IsRun(entry, planned, Region::kBackward) && entry.segment == planned.buckets()[b].last_segment)
        last_run = i;
    }
    EXPECT_GT(start, last_run);
    // Only the starts of buckets that are complete at the same time stand between.
    for (int i = last_run + 1; i < start; ++i) EXPECT_EQ(planned.entries()[i].kind, StepKind::kStart);
  }
}

TEST(StepPlannerTest, ZeroScattersGradientsAndGathersParameters) {
  for (int zero_stage : {0, 1}) {
    const Planned planned({.zero_stage = zero_stage, .dp = 2});
    for (const UpdateProgram::BucketValues& bucket : planned.update().buckets) {
      EXPECT_EQ(StartOf(planned, Message::kAllReduce, bucket.gradients) >= 0, zero_stage == 0);
      EXPECT_EQ(StartOf(planned, Message::kReduceScatter, bucket.gradients) >= 0, zero_stage == 1);
      EXPECT_EQ(StartOf(planned, Message::kAllGather, bucket.parameter_shard) >= 0, zero_stage == 1);
    }
  }
}

TEST(StepPlannerTest, OneReplicaReducesNothing) {
  const Planned planned({.num_micro_batches = 2});
  for (const StepEntry& entry : planned.entries()) {
    EXPECT_TRUE(entry.kind != StepKind::kStart || entry.channel == kWorld);
  }
}

TEST(StepPlannerTest, ATiedGradientIsAddedOverItsHomesBeforeTheReplicas) {
  for (int stage : {0, 1}) {
    const Planned planned({.num_stages = 2, .stage = stage, .num_micro_batches = 2, .dp = 2, .tied = true});
    int homes = -1, replicas = -1, waited = -1;
    for (int i = 0; i < planned.entries().size(); ++i) {
      const StepEntry& entry = planned.entries()[i];
      if (entry.kind == StepKind::kStart && entry.channel == kHomes) {
        EXPECT_EQ(homes, -1) << "a stage has one tied bucket";
        homes = i;
        replicas = StartOf(planned, Message::kReduceScatter, entry.in);
      }
      if (entry.kind == StepKind::kWait && entry.started == homes) waited = i;
    }
    ASSERT_GE(homes, 0);
    EXPECT_LT(homes, waited);
    EXPECT_LT(waited, replicas);
  }
}

TEST(StepPlannerTest, AllNormsAreKnownBeforeAnyUpdate) {
  const Planned planned({.dp = 2});
  bool world_reduced = false;
  int updates = 0;
  for (const StepEntry& entry : planned.entries()) {
    if (entry.kind == StepKind::kWait) world_reduced |= planned.entries()[entry.started].channel == kWorld;
    if (entry.kind != StepKind::kRun || entry.program != 1) continue;
    for (const UpdateProgram::BucketValues& bucket : planned.update().buckets) {
      EXPECT_TRUE(entry.segment != bucket.norm_segment || !world_reduced);
      if (entry.segment != bucket.update_segment) continue;
      EXPECT_TRUE(world_reduced);
      ++updates;
    }
  }
  EXPECT_EQ(updates, planned.buckets().size());
}

TEST(StepPlannerTest, TheLossIsTakenBeforeItsSlotIsReused) {
  ForEachCase([](const PlanCase& c, const Planned& planned) {
    std::map<int, int> loaded;  // by slot: the micro-batch
    int losses = 0;
    for (const StepEntry& entry : planned.entries()) {
      if (entry.kind == StepKind::kLoad) loaded[entry.slot] = entry.micro_batch;
      if (entry.kind != StepKind::kLoss) continue;
      EXPECT_EQ(loaded[entry.slot], entry.micro_batch);
      ++losses;
    }
    EXPECT_EQ(losses, c.has_output() ? 0 : c.num_micro_batches);
  });
}

}  // namespace
}  // namespace trireme
