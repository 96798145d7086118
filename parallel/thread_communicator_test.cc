#include "parallel/thread_communicator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "parallel/communicator_checks.h"

namespace trireme {
namespace {

class ThreadRanksTest : public testing::TestWithParam<int> {};

TEST_P(ThreadRanksTest, AllReduceMatchesItsDefinition) {
  RunThreadRanks(GetParam(), CheckAllReduce);
}
TEST_P(ThreadRanksTest, AllGatherMatchesItsDefinition) {
  RunThreadRanks(GetParam(), CheckAllGather);
}
TEST_P(ThreadRanksTest, ReduceScatterMatchesItsDefinition) {
  RunThreadRanks(GetParam(), CheckReduceScatter);
}
TEST_P(ThreadRanksTest, AllToAllMatchesItsDefinition) {
  RunThreadRanks(GetParam(), CheckAllToAll);
}
TEST_P(ThreadRanksTest, ExchangeCarriesPiecesOfAnyLength) {
  RunThreadRanks(GetParam(), CheckExchange);
}
TEST_P(ThreadRanksTest, BroadcastMatchesItsDefinition) {
  RunThreadRanks(GetParam(), CheckBroadcast);
}
TEST_P(ThreadRanksTest, SendsArriveInOrder) {
  RunThreadRanks(GetParam(), CheckSendAndReceive);
}
TEST_P(ThreadRanksTest, RendezvousSendsArriveInOrder) {
  RunThreadRanks(GetParam(), CheckSendAndReceive, {.rendezvous_sends = true});
}
TEST_P(ThreadRanksTest, ManyOperationsMayBeUnderWayAtOnce) {
  RunThreadRanks(GetParam(), CheckManyAtOnce);
}
TEST_P(ThreadRanksTest, SplitGroupsByColourAndKey) {
  RunThreadRanks(GetParam(), CheckSplit);
}

INSTANTIATE_TEST_SUITE_P(Ranks, ThreadRanksTest, testing::Values(1, 2, 3, 4, 8));

TEST(ThreadRanksTest, SixteenRanksPassABarrierTogether) {
  std::atomic<int> arrived = 0;
  RunThreadRanks(16, [&](Communicator& world) {
    for (int round = 1; round <= 50; ++round) {
      ++arrived;
      world.Barrier();
      EXPECT_GE(arrived, 16 * round);
      world.Barrier();
    }
  });
  EXPECT_EQ(arrived, 16 * 50);
}

TEST(ThreadRanksTest, ASendOfTheUsualModeCompletesBeforeItsReceive) {
  RunThreadRanks(2, [](Communicator& world) {
    int32_t out = world.rank() + 5, in = 0;
    world.Wait(world.StartSend(&out, 1, DType::kI32, 1 - world.rank()));
    out = -1;
    world.Wait(world.StartReceive(&in, 1, DType::kI32, 1 - world.rank()));
    EXPECT_EQ(in, 1 - world.rank() + 5);
  });
}

class ThreadRanksDeathTest : public testing::Test {
 protected:
  ThreadRanksDeathTest() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(ThreadRanksDeathTest, TwoRendezvousSendsThatFaceEachOtherAreADeadlock) {
  EXPECT_DEATH(RunThreadRanks(2,
                              [](Communicator& world) {
                                int32_t out = 0, in = 0;
                                world.Wait(world.StartSend(&out, 1, DType::kI32, 1 - world.rank()));
                                world.Wait(world.StartReceive(&in, 1, DType::kI32, 1 - world.rank()));
                              },
                              {.rendezvous_sends = true}),
               "deadlock: no rank can go on.*\n.*rank 0: waits for a send of 1 i32 to rank 1");
}

// Rank 1 returns, before the others wait or after: either way the last event is found to leave nobody who can
// go on.
void ReturnWithoutTheBarrier(std::chrono::milliseconds rank_1_sleeps,
                             std::chrono::milliseconds others_sleep) {
  RunThreadRanks(3,
                 [&](Communicator& world) {
                   std::this_thread::sleep_for(world.rank() == 1 ? rank_1_sleeps : others_sleep);
                   if (world.rank() != 1) world.Barrier();
                 },
                 {.deadlock_timeout = std::chrono::seconds(10)});
}

constexpr char kRank1HasReturned[] =
    "no rank can go on.*\n.*rank 0: waits for barrier among ranks .0, 1, 2., not yet started by .1."
    "\n.*rank 1: has returned";

TEST_F(ThreadRanksDeathTest, ARankThatHasReturnedDoesNotHangTheOthers) {
  EXPECT_DEATH(ReturnWithoutTheBarrier(std::chrono::milliseconds(0), std::chrono::milliseconds(300)),
               kRank1HasReturned);
}

TEST_F(ThreadRanksDeathTest, ARankThatReturnsWhileOthersWaitDoesNotHangThem) {
  EXPECT_DEATH(ReturnWithoutTheBarrier(std::chrono::milliseconds(300), std::chrono::milliseconds(0)),
               kRank1HasReturned);
}

TEST_F(ThreadRanksDeathTest, AWaitLongerThanTheTimeoutIsReported) {
  EXPECT_DEATH(RunThreadRanks(2,
                              [](Communicator& world) {
                                if (world.rank() == 1) std::this_thread::sleep_for(std::chrono::seconds(30));
                                world.Barrier();
                              },
                              {.deadlock_timeout = std::chrono::milliseconds(200)}),
               "rank 0 has waited 200 ms for barrier.*\n.*\n.*rank 1: works");
}

TEST_F(ThreadRanksDeathTest, DifferentCountsAreRefused) {
  EXPECT_DEATH(
      RunThreadRanks(2,
                     [](Communicator& world) {
                       std::vector<float> data(4);
                       world.AllReduce(data.data(), data.data(), 3 + world.rank(), DType::kF32,
                                       ReduceOp::kSum);
                     }),
      "rank . starts all_reduce of [34] f32 .sum. where others have started all_reduce of [34] f32 .sum. "
      "among ranks .0, 1.");
}

TEST_F(ThreadRanksDeathTest, DifferentCollectivesAreRefused) {
  EXPECT_DEATH(RunThreadRanks(2,
                              [](Communicator& world) {
                                float data = 0;
                                if (world.rank() == 0) world.Broadcast(&data, 1, DType::kF32, 0);
                                world.Barrier();
                              }),
               "where others have started");
}

TEST_F(ThreadRanksDeathTest, AReceiveThatDoesNotFitItsSendIsRefused) {
  EXPECT_DEATH(RunThreadRanks(2,
                              [](Communicator& world) {
                                float data[2] = {};
                                world.Wait(world.rank() == 0 ? world.StartSend(data, 2, DType::kF32, 1)
                                                             : world.StartReceive(data, 1, DType::kF32, 0));
                              }),
               "rank 0 sends 2 f32 where rank 1 receives 1 f32");
}

TEST_F(ThreadRanksDeathTest, WaitingTwiceIsABug) {
  EXPECT_DEATH(RunThreadRanks(2,
                              [](Communicator& world) {
                                float data = 0;
                                const auto ticket = world.StartBroadcast(&data, 1, DType::kF32, 0);
                                world.Wait(ticket);
                                world.Wait(ticket);
                              }),
               "has been waited for");
}

TEST_F(ThreadRanksDeathTest, AnOperationNobodyWaitsForIsABug) {
  EXPECT_DEATH(RunThreadRanks(2,
                              [](Communicator& world) {
                                float data = 0;
                                world.StartBroadcast(&data, 1, DType::kF32, 0);
                              }),
               "leaves 1 operations that nobody has waited for");
}

}  // namespace
}  // namespace trireme
