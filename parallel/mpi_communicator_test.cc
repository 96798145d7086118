#include "parallel/mpi_communicator.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "parallel/communicator_checks.h"
#include "parallel/mesh.h"
#include "parallel/mpi_test_main.h"

namespace trireme {
namespace {

Communicator& World() {
  return MpiTestEnvironment().world();
}

TEST(MpiCommunicatorTest, AllReduceMatchesItsDefinition) {
  CheckAllReduce(World());
}
TEST(MpiCommunicatorTest, AllGatherMatchesItsDefinition) {
  CheckAllGather(World());
}
TEST(MpiCommunicatorTest, ReduceScatterMatchesItsDefinition) {
  CheckReduceScatter(World());
}
TEST(MpiCommunicatorTest, AllToAllMatchesItsDefinition) {
  CheckAllToAll(World());
}
TEST(MpiCommunicatorTest, ExchangeCarriesPiecesOfAnyLength) {
  CheckExchange(World());
}
TEST(MpiCommunicatorTest, BroadcastMatchesItsDefinition) {
  CheckBroadcast(World());
}
TEST(MpiCommunicatorTest, SendsArriveInOrder) {
  CheckSendAndReceive(World());
}
TEST(MpiCommunicatorTest, ManyOperationsMayBeUnderWayAtOnce) {
  CheckManyAtOnce(World());
}
TEST(MpiCommunicatorTest, SplitGroupsByColourAndKey) {
  CheckSplit(World());
}

TEST(MpiCommunicatorTest, GroupsOfEverySizeWork) {
  for (int size = 1; size < World().size(); ++size) {
    const std::unique_ptr<Communicator> group = World().Split(World().rank() < size ? 0 : -1, 0);
    if (group == nullptr) continue;
    EXPECT_EQ(group->size(), size);
    CheckAllReduce(*group);
    CheckReduceScatter(*group);
  }
}

TEST(MpiCommunicatorTest, StagingStopsGrowingAfterTheFirstStep) {
  const auto step = [] {
    std::vector<std::vector<float>> buckets = {std::vector<float>(3000001), std::vector<float>(500000),
                                               std::vector<float>(100), std::vector<float>(2000000)};
    std::vector<Communicator::Ticket> tickets;
    for (std::vector<float>& bucket : buckets) {
      tickets.push_back(World().StartAllReduce(
          bucket.data(), bucket.data(), static_cast<int64_t>(bucket.size()), DType::kF32, ReduceOp::kSum));
    }
    for (Communicator::Ticket ticket : tickets) World().Wait(ticket);
  };
  step();
  const int64_t bytes = MpiTestEnvironment().staging_bytes();
  EXPECT_EQ(bytes > 0, World().size() > 1);
  for (int i = 0; i < 10; ++i) {
    step();
    EXPECT_EQ(MpiTestEnvironment().staging_bytes(), bytes);
  }
}

TEST(MpiCommunicatorTest, ProgressAloneCompletesAnOperation) {
  if (World().size() == 1) return;
  std::vector<double> data(1500000, 1.0);
  const auto ticket = World().StartAllReduce(data.data(), data.data(), static_cast<int64_t>(data.size()),
                                             DType::kF64, ReduceOp::kSum);
  while (data.back() != World().size() || data.front() != World().size()) World().Progress();
  World().Wait(ticket);
  EXPECT_EQ(data, std::vector<double>(data.size(), World().size()));
}

TEST(MpiCommunicatorTest, AMeshReducesAlongEachOfItsAxes) {
  AxisSizes sizes;
  sizes[Axis::kTp] = World().size() % 2 == 0 ? 2 : 1;
  sizes[Axis::kPp] = World().size() / sizes[Axis::kTp];
  const auto mesh = Mesh::Create(World(), sizes);
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  for (Axis axis : kAllAxes) {
    int32_t sum = (*mesh)->coordinate()[axis];
    (*mesh)->along(axis).AllReduce(&sum, &sum, 1, DType::kI32, ReduceOp::kSum);
    EXPECT_EQ(sum, sizes[axis] * (sizes[axis] - 1) / 2);
  }
}

}  // namespace
}  // namespace trireme
