#include "parallel/step_planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "parallel/chunk_test_util.h"
#include "parallel/gather_pass.h"
#include "parallel/passing_memory.h"

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
                               c.num_micro_batches, c.zero_stage)),
        evaluation_(PlanEvaluation({{&rank_.chunk().program()}, {c.stage, c.num_stages}},
                                   Schedule(c.schedule, {c.stage, c.num_stages}, c.num_micro_batches),
                                   c.num_micro_batches)) {
    for (StepPlan* plan : {&plan_, &evaluation_}) GatherParameters(buckets(), update(), *plan);
  }

  const StepPlan& plan() const { return plan_; }
  const StepPlan& evaluation() const { return evaluation_; }
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
  StepPlan evaluation_;
};

constexpr int kZeroStages = 4;

template <typename F>
void ForEachCase(F f) {
  for (ScheduleKind schedule : {ScheduleKind::k1F1B, ScheduleKind::kGPipe}) {
    for (int stages : {1, 2, 3, 4}) {
      for (int stage = 0; stage < stages; ++stage) {
        for (int turn = 0; turn < 3 * kZeroStages; ++turn) {
          const int micro_batches = turn % 3 == 2 ? 5 : turn % 3 + 1;
          const PlanCase c = {schedule, stages, stage, micro_batches, turn / 3, 2, stages > 1};
          SCOPED_TRACE(testing::Message() << Name(schedule) << " stage " << stage << " of " << stages << ", "
                                          << micro_batches << " micro-batches, ZeRO " << c.zero_stage);
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
    std::map<int, int>
        expected;  // by segment of the update; those of sharded gradients run as often as backward
    for (const UpdateProgram::BucketValues& bucket : planned.update().buckets) {
      expected[bucket.clear_segment] = c.num_micro_batches;
      expected[bucket.add_segment] = c.num_micro_batches - 1;
    }
    for (int s = 0; s < planned.update().program.segments.size(); ++s) {
      EXPECT_EQ((runs[{1, s, -1}]), expected.count(s) > 0 ? expected[s] : 1) << s;
    }
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
  for (int zero_stage : {0, 1, 2}) {
    const Planned planned({.zero_stage = zero_stage, .dp = 2});
    for (const UpdateProgram::BucketValues& bucket : planned.update().buckets) {
      EXPECT_EQ(StartOf(planned, Message::kAllReduce, bucket.gradients) >= 0, zero_stage == 0);
      EXPECT_EQ(StartOf(planned, Message::kReduceScatter, bucket.gradients) >= 0, zero_stage >= 1);
      EXPECT_EQ(StartOf(planned, Message::kAllGather, bucket.parameter_shard) >= 0, zero_stage >= 1);
    }
  }
}

TEST(StepPlannerTest, OneReplicaReducesNothing) {
  const Planned planned({.num_micro_batches = 2});
  for (const StepEntry& entry : planned.entries()) {
    EXPECT_TRUE(entry.kind != StepKind::kStart || entry.channel == kWorld);
  }
}

TEST(StepPlannerTest, ATiedGradientIsAddedOverTheReplicasThenOverItsHomes) {
  for (int zero_stage : {1, 2}) {
    for (int stage : {0, 1}) {
      const Planned planned({.num_stages = 2,
                             .stage = stage,
                             .num_micro_batches = 1,
                             .zero_stage = zero_stage,
                             .dp = 2,
                             .tied = true});
      int homes = -1, replicas = -1, waited = -1;
      for (int i = 0; i < planned.entries().size(); ++i) {
        const StepEntry& entry = planned.entries()[i];
        if (entry.kind == StepKind::kStart && entry.channel == kHomes) {
          EXPECT_EQ(homes, -1) << "a stage has one tied bucket";
          homes = i;
          for (const UpdateProgram::BucketValues& bucket : planned.update().buckets) {
            if (bucket.gradient_shard == entry.in) {
              replicas = StartOf(planned, Message::kReduceScatter, bucket.gradients);
            }
          }
        }
      }
      ASSERT_GE(replicas, 0);
      for (int i = replicas; i < planned.entries().size(); ++i) {
        const StepEntry& entry = planned.entries()[i];
        if (entry.kind == StepKind::kWait && entry.started == replicas) waited = i;
      }
      EXPECT_LT(replicas, waited);
      EXPECT_LT(waited, homes);
    }
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

bool IsSharded(const Planned& planned, ValueId parameters) {
  const auto& buckets = planned.update().buckets;
  return std::any_of(buckets.begin(), buckets.end(), [&](const UpdateProgram::BucketValues& bucket) {
    return bucket.parameters == parameters && bucket.shards_parameters;
  });
}

// Runs a plan on paper: which whole buckets are in the memory that they share, and which of them a message
// works on.
class PassingMemoryOnPaper {
 public:
  PassingMemoryOnPaper(const Planned& planned, const StepPlan& plan, const PassingMemory& memory)
      : planned_(planned), plan_(plan), memory_(memory) {
    for (size_t b = 0; b < planned.buckets().size(); ++b) {
      for (const Bucket::Member& member : planned.buckets()[b].members) {
        const ParameterGroup& group = planned.chunk().parameters[member.group];
        bucket_of_[group.value] = bucket_of_[group.gradient] = b;
      }
    }
  }

  void Run() {
    for (int i = 0; i < plan_.entries.size(); ++i) {
      SCOPED_TRACE(i);
      const StepEntry& entry = plan_.entries[i];
      if (entry.kind == StepKind::kStart && entry.program == 1) Start(entry);
      if (entry.kind == StepKind::kWait) under_way_.erase(Moved(plan_.entries[entry.started]));
      if (entry.kind == StepKind::kRun) Run(entry);
    }
  }

 private:
  static ValueId Moved(const StepEntry& start) {
    return start.message == Message::kAllGather ? start.out : start.in;
  }
  bool Passes(ValueId value) const { return memory_.offsets[value] != PassingMemory::kNotPassing; }

  void Start(const StepEntry& entry) {
    if (entry.message == Message::kAllGather && Passes(entry.out)) Arrive(entry.out);
    if (entry.message == Message::kReduceScatter) ExpectThere(entry.in);
    if (Passes(Moved(entry))) under_way_.insert(Moved(entry));
  }

  void Run(const StepEntry& entry) {
    const Program& program = *plan_.programs[entry.program];
    for (const Op& op : program.segments[entry.segment].ops) {
      for (ValueId input : op.inputs) {
        if (input == kNoValue) continue;
        if (entry.program == 1) ExpectThere(program.StorageOf(input));
        const auto bucket = bucket_of_.find(program.StorageOf(input));
        if (entry.program == 0 && bucket != bucket_of_.end()) {
          ExpectThere(planned_.update().buckets[bucket->second].parameters);
        }
      }
      for (ValueId output : op.outputs) {
        if (entry.program == 1) ExpectThere(program.StorageOf(output));
        const auto bucket = bucket_of_.find(output);
        if (entry.program == 0 && bucket != bucket_of_.end()) Write(entry.segment, bucket->second);
      }
    }
  }

  void Write(int segment, size_t b) {
    const ValueId gradients = planned_.update().buckets[b].gradients;
    if (!Passes(gradients)) return;
    if (planned_.buckets()[b].first_segment == segment && !there_.contains(gradients)) Arrive(gradients);
    ExpectThere(gradients);
  }

  void ExpectThere(ValueId value) {
    if (!Passes(value)) return;
    EXPECT_TRUE(there_.contains(value)) << planned_.update().program.value(value).name;
    EXPECT_FALSE(under_way_.contains(value)) << planned_.update().program.value(value).name;
  }

  // Whatever lay there before is lost.
  void Arrive(ValueId value) {
    EXPECT_FALSE(under_way_.contains(value));
    std::erase_if(there_, [&](ValueId other) {
      const bool meets = begin(value) < end(other) && begin(other) < end(value);
      EXPECT_FALSE(meets && under_way_.contains(other)) << "written over while it travels";
      return meets;
    });
    there_.insert(value);
  }
  int64_t begin(ValueId value) const { return memory_.offsets[value]; }
  int64_t end(ValueId value) const {
    return begin(value) + planned_.update().program.value(value).size_bytes();
  }

  const Planned& planned_;
  const StepPlan& plan_;
  const PassingMemory& memory_;
  std::map<ValueId, size_t> bucket_of_;  // by parameter and gradient of the chunk
  std::set<ValueId> there_;
  std::set<ValueId> under_way_;
};

TEST(StepPlannerTest, WholeBucketsAreThereWhileTheyAreNeeded) {
  ForEachCase([](const PlanCase&, const Planned& planned) {
    const PassingMemory memory =
        PlanPassingMemory(planned.update(), {&planned.plan(), &planned.evaluation()});
    PassingMemoryOnPaper(planned, planned.plan(), memory).Run();
    PassingMemoryOnPaper(planned, planned.evaluation(), memory).Run();
  });
}

// Every gather but a plan's first starts before the segment in front of the one that reads it.
TEST(StepPlannerTest, ParametersTravelUnderTheSegmentInFront) {
  ForEachCase([](const PlanCase& c, const Planned& planned) {
    for (const StepPlan* plan : {&planned.plan(), &planned.evaluation()}) {
      int gathers = 0, late = 0;
      for (int i = 0; i < plan->entries.size(); ++i) {
        const StepEntry& wait = plan->entries[i];
        if (wait.kind != StepKind::kWait) continue;
        const StepEntry& start = plan->entries[wait.started];
        if (start.message != Message::kAllGather || !IsSharded(planned, start.out)) continue;
        ++gathers;
        const auto begin = plan->entries.begin();
        const int64_t runs = std::count_if(begin + wait.started, begin + i, [](const StepEntry& entry) {
          return entry.kind == StepKind::kRun && entry.program == 0;
        });
        EXPECT_LE(runs, 1);
        late += runs == 0 ? 1 : 0;
      }
      EXPECT_LE(late, 1);
      EXPECT_EQ(gathers > 0, c.zero_stage == 3);
    }
  });
}

}  // namespace
}  // namespace trireme
