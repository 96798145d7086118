#include "parallel/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "parallel/schedule_simulator.h"
#include "parallel/thread_communicator.h"

namespace trireme {
namespace {

using Stages = std::vector<std::vector<Work>>;

constexpr Work F(int micro_batch, int chunk = 0) {
  return {Work::Kind::kForward, chunk, micro_batch};
}
constexpr Work B(int micro_batch, int chunk = 0) {
  return {Work::Kind::kBackward, chunk, micro_batch};
}
constexpr Work I(int micro_batch) {
  return {Work::Kind::kBackwardInput, 0, micro_batch};
}
constexpr Work W(int micro_batch) {
  return {Work::Kind::kBackwardWeight, 0, micro_batch};
}

Stages AllStages(ScheduleKind kind, int num_stages, int num_micro_batches) {
  return ScheduleOfAllStages(kind, num_stages, 1, num_micro_batches);
}

template <typename F>
void ForEachSize(F f) {
  for (int p : {1, 2, 3, 4, 8}) {
    for (int m : {1, 2, 3, 4, 7, 8, 16, 33}) f(p, m);
  }
}

std::string Refusal(const Stages& stages) {
  return std::string(Simulate(stages).status().message());
}

TEST(ScheduleTest, OneForwardOneBackwardAlternatesAfterTheWarmUp) {
  EXPECT_EQ(Schedule(ScheduleKind::k1F1B, {1, 3}, 4),
            (std::vector<Work>{F(0), F(1), B(0), F(2), B(1), F(3), B(2), B(3)}));
  EXPECT_EQ(Schedule(ScheduleKind::k1F1B, {2, 3}, 2), (std::vector<Work>{F(0), B(0), F(1), B(1)}));
}

TEST(ScheduleTest, GPipeRunsAllForwardsFirst) {
  EXPECT_EQ(Schedule(ScheduleKind::kGPipe, {1, 3}, 2), (std::vector<Work>{F(0), F(1), B(0), B(1)}));
  EXPECT_EQ(ForwardsOf({F(0), F(1), B(0), B(1)}), (std::vector<Work>{F(0), F(1)}));
}

TEST(ScheduleTest, TheBubbleIsThePublishedOne) {
  ForEachSize([](int p, int m) {
    for (ScheduleKind kind : {ScheduleKind::kGPipe, ScheduleKind::k1F1B}) {
      for (double backward : {1.0, 2.0, 2.5}) {
        const auto simulation = Simulate(AllStages(kind, p, m), {.forward = 1, .backward = backward});
        ASSERT_TRUE(simulation.ok()) << Name(kind) << " p " << p << " m " << m << ": " << simulation.status();
        EXPECT_NEAR(simulation->bubble_fraction, (p - 1.0) / (m + p - 1.0), 1e-12)
            << Name(kind) << " p " << p << " m " << m << " backward " << backward;
      }
    }
  });
}

TEST(ScheduleTest, MicroBatchesInFlightAreThePublishedNumber) {
  ForEachSize([](int p, int m) {
    const auto one = Simulate(AllStages(ScheduleKind::k1F1B, p, m));
    const auto gpipe = Simulate(AllStages(ScheduleKind::kGPipe, p, m));
    for (int s = 0; s < p; ++s) {
      EXPECT_EQ(one->max_in_flight[s], std::min(m, p - s));
      EXPECT_EQ(gpipe->max_in_flight[s], m);
    }
  });
}

TEST(ScheduleTest, APictureShowsTheBubble) {
  const auto simulation = Simulate(AllStages(ScheduleKind::k1F1B, 3, 4));
  ASSERT_TRUE(simulation.ok()) << simulation.status();
  EXPECT_EQ(Picture(*simulation),
            "stage 0 | F0 F1 F2 .. .. .. .. B0--- F3 B1--- .. B2--- .. B3---\n"
            "stage 1 | .. F0 F1 .. .. B0--- F2 B1--- F3 B2--- .. B3--- .. ..\n"
            "stage 2 | .. .. F0 B0--- F1 B1--- F2 B2--- F3 B3--- .. .. .. ..\n");
}

TEST(ScheduleTest, ReceivesStartOneWorkAheadAndSendsAreWaitedForBeforeTheNext) {
  std::vector<std::string> list;
  for (const PipelineEntry& entry : WithMessages({F(0), F(1), B(0), B(1)}, {1, 3, 1}))
    list.push_back(ToString(entry));
  EXPECT_EQ(list,
            (std::vector<std::string>{
                "start_receive F0", "start_receive F1", "wait_receive F0", "compute F0",    "start_send F0",
                "start_receive B0", "wait_receive F1",  "compute F1",      "wait_send F0",  "start_send F1",
                "start_receive B1", "wait_receive B0",  "compute B0",      "start_send B0", "wait_receive B1",
                "compute B1",       "wait_send B0",     "start_send B1",   "wait_send B1",  "wait_send F1"}));
}

TEST(ScheduleTest, ASplitBackwardFillsTheBubble) {
  const Stages split = {{F(0), F(1), I(0), W(0), I(1), W(1)}, {F(0), I(0), F(1), I(1), W(0), W(1)}};
  const auto simulation = Simulate(split);
  ASSERT_TRUE(simulation.ok()) << simulation.status();
  EXPECT_LT(simulation->bubble_fraction, Simulate(AllStages(ScheduleKind::k1F1B, 2, 2))->bubble_fraction);
  EXPECT_EQ(simulation->max_in_flight, (std::vector<int>{2, 2}));
}

TEST(ScheduleTest, AVTurnsAtTheLastStage) {
  const PipelinePlace first = PlaceIn(ScheduleKind::kZeroBubbleV, 3, 0, 1);
  const PipelinePlace last = PlaceIn(ScheduleKind::kZeroBubbleV, 3, 2, 1);
  EXPECT_EQ(first.PositionOf(0), 0);
  EXPECT_EQ(first.PositionOf(1), 5);
  EXPECT_EQ(first.StageAt(4), 1);
  EXPECT_EQ(SendsTo(F(0), last), -1);
  EXPECT_TRUE(GivesToSameStage(F(0), last));
  EXPECT_TRUE(TakesFromSameStage(F(0, 1), last));
  EXPECT_EQ(SendsTo(F(0, 1), last), 1);
  EXPECT_EQ(SendsTo(B(0, 1), first), 1);
  EXPECT_TRUE(GivesToSameStage(B(0, 1), last));
  EXPECT_FALSE(GivesToSameStage(F(0, 1), first));
}

TEST(ScheduleTest, ChunksWrapAroundTheStages) {
  const PipelinePlace last{1, 2, 2};
  EXPECT_EQ(SendsTo(F(0), last), 0);
  EXPECT_EQ(Consumer(F(0), last), F(0, 1));
  EXPECT_EQ(ReceivesFrom(F(0), PipelinePlace{0, 2, 2}), -1);
  EXPECT_EQ(ReceivesFrom(F(0, 1), PipelinePlace{0, 2, 2}), 1);
  EXPECT_EQ(SendsTo(F(0, 1), last), -1);
  EXPECT_EQ(SendsTo(B(0, 1), last), 0);
  EXPECT_EQ(ReceivesFrom(B(0, 1), last), -1);
  EXPECT_EQ(SendsTo(W(0), last), -1);
  const Stages interleaved = {{F(0), F(1), F(0, 1), F(1, 1), B(0, 1), B(1, 1), B(0), B(1)},
                              {F(0), F(1), F(0, 1), B(0, 1), F(1, 1), B(1, 1), B(0), B(1)}};
  EXPECT_TRUE(Simulate(interleaved).ok()) << Simulate(interleaved).status();
}

TEST(ScheduleSimulatorTest, MissingAndRepeatedWorkIsRefused) {
  EXPECT_EQ(Refusal({{F(0), F(0)}}), "stage 0: F0 comes twice");
  EXPECT_EQ(Refusal({{F(0), B(0), B(0)}}), "stage 0: B0 comes twice");
  EXPECT_EQ(Refusal({{F(0), B(0), F(1)}}), "stage 0: F1 has no complete backward");
  EXPECT_EQ(Refusal({{F(0), I(0)}}), "stage 0: F0 has no complete backward");
  EXPECT_EQ(Refusal({{B(0), F(0)}}), "stage 0: B0 comes before its forward");
  EXPECT_EQ(Refusal({{F(0), W(0), I(0)}}), "stage 0: W0 comes before its backward_input");
  EXPECT_EQ(Refusal({{F(0), F(1)}, {F(0)}}),
            "stage 1 does 1 (chunk, micro-batch) pairs, not the 2 that stage 0 does");
}

TEST(ScheduleSimulatorTest, MessagesInDifferentOrdersAreRefused) {
  EXPECT_EQ(Refusal({{F(0), F(1)}, {F(1), F(0)}}),
            "stage 0 sends what F0 of stage 1 needs where that stage receives for F1");
}

TEST(ScheduleSimulatorTest, ACycleIsADeadlock) {
  EXPECT_EQ(Refusal({{F(0), B(0), F(1), B(1)}, {F(0), F(1), B(0), B(1)}}),
            "the schedule deadlocks: stage 0 at wait_receive B0; stage 1 at wait_receive F1");
}

// Waiting for each send at once is how 1F1B is written wrongly: neighbours in the steady phase face each
// other.
TEST(ScheduleSimulatorTest, WaitingForEachSendBeforeTheNextReceiveIsADeadlock) {
  std::vector<std::vector<PipelineEntry>> lists;
  for (int stage = 0; stage < 2; ++stage) {
    const PipelinePlace place{stage, 2, 1};
    std::vector<PipelineEntry>& list = lists.emplace_back();
    for (const Work& work : Schedule(ScheduleKind::k1F1B, place, 4)) {
      using Kind = PipelineEntry::Kind;
      if (ReceivesFrom(work, place) >= 0)
        list.insert(list.end(), {{Kind::kStartReceive, work}, {Kind::kWaitReceive, work}});
      list.push_back({Kind::kCompute, work});
      if (SendsTo(work, place) >= 0)
        list.insert(list.end(), {{Kind::kStartSend, work}, {Kind::kWaitSend, work}});
    }
  }
  EXPECT_EQ(SimulateEntries(lists, {0, 2}).status().message(),
            "the schedule deadlocks: stage 0 at wait_send F1; stage 1 at wait_send B0");
}

// Runs a stage's work over real channels; every message carries the numbers of its chunk and micro-batch.
void RunStage(Communicator& world, ScheduleKind kind, int num_chunks, int num_micro_batches) {
  const PipelinePlace place = PlaceIn(kind, world.size(), world.rank(), num_chunks);
  const std::vector<Work> work = Schedule(kind, place, num_micro_batches);
  const auto number = [](const Work& w) { return w.chunk * 1000 + w.micro_batch; };
  std::vector<std::unique_ptr<Communicator>> directions;
  directions.push_back(world.Split(0, world.rank()));
  directions.push_back(world.Split(0, world.rank()));
  std::map<std::pair<bool, int>, std::pair<Communicator::Ticket, int32_t>> receives, sends;
  for (const PipelineEntry& entry : WithMessages(work, place)) {
    const bool is_forward = entry.work.kind == Work::Kind::kForward;
    Communicator& channel = *directions[is_forward];
    auto& [receive, received] = receives[{is_forward, number(entry.work)}];
    auto& [send, sent] = sends[{is_forward, number(entry.work)}];
    switch (entry.kind) {
      case PipelineEntry::Kind::kStartReceive:
        receive = channel.StartReceive(&received, 1, DType::kI32, ReceivesFrom(entry.work, place));
        break;
      case PipelineEntry::Kind::kWaitReceive:
        channel.Wait(receive);
        EXPECT_EQ(received, number(entry.work));
        break;
      case PipelineEntry::Kind::kCompute:
        break;
      case PipelineEntry::Kind::kStartSend:
        sent = number(Consumer(entry.work, place));
        send = channel.StartSend(&sent, 1, DType::kI32, SendsTo(entry.work, place));
        break;
      case PipelineEntry::Kind::kWaitSend:
        channel.Wait(send);
        break;
    }
  }
}

TEST(ScheduleTest, EveryScheduleRunsWithRendezvousSends) {
  ForEachSize([](int p, int m) {
    for (ScheduleKind kind : kAllSchedules) {
      for (int v : {2, 3}) {
        if (v > 2 && kind != ScheduleKind::kInterleaved) continue;
        const auto run = [&](Communicator& world) { RunStage(world, kind, v, m); };
        RunThreadRanks(p, run, {.rendezvous_sends = true});
      }
    }
  });
}

TEST(ScheduleTest, ForwardsAloneCannotDeadlock) {
  ForEachSize([](int p, int m) {
    for (ScheduleKind kind : kAllSchedules) {
      Stages stages = ScheduleOfAllStages(kind, p, 2, m);
      for (std::vector<Work>& stage : stages) stage = ForwardsOf(std::move(stage));
      const auto simulation = Simulate(stages, {}, kind == ScheduleKind::kZeroBubbleV);
      EXPECT_TRUE(simulation.ok()) << Name(kind) << " p " << p << " m " << m << ": " << simulation.status();
    }
  });
}

TEST(ScheduleSimulatorTest, AChunkBeforeTheOneThatFeedsItIsRefused) {
  EXPECT_EQ(Refusal({{F(0, 1), F(0)}}), "stage 0: F0.1 comes before the chunk of its stage that feeds it");
  EXPECT_EQ(Refusal({{F(0), F(0, 1), B(0), B(0, 1)}}),
            "stage 0: B0 comes before the chunk of its stage that feeds it");
}

}  // namespace
}  // namespace trireme
