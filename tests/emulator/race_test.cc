// The race checker: planted races are named with both lines, healthy kernels pass. This program is compiled
// for it, and runs the tests of the kernels' language (primitives_test.cu, memory_test.cu, hopper_test.cu)
// under it as well.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "runtime/cuda/hopper.h"
#include "tests/emulator/device_buffer.h"
#include "tests/emulator/emulator.h"
#include "tests/emulator/every_order.h"
#include "tests/emulator/product_kernel.h"
#include "tests/emulator/race_checker.h"

namespace trireme {
namespace {

using emulator::MessageOf;
using ::testing::HasSubstr;

class RaceEnvironment : public ::testing::Environment {
 public:
  void SetUp() override { emulator::SetRaceChecking(true); }
};
const auto* const environment = ::testing::AddGlobalTestEnvironment(new RaceEnvironment);

std::string Line(int line) {
  return "race_test.cc:" + std::to_string(line);
}

// In every order the launch is refused with these words.
template <typename Launch>
void ExpectRace(Launch launch, const std::vector<std::string>& words) {
  InEveryOrder([&] {
    const std::string message = MessageOf(launch);
    for (const std::string& word : words) EXPECT_THAT(message, HasSubstr(word));
  });
}

constexpr int kReverseLine = __LINE__ + 4;
template <bool kFirst, bool kSecond>
GPU_KERNEL(64)
Reverse(float* out) {
  SMEM(float, row, [64]);
  for (int round = 0; round < 2; ++round) {
    row[threadIdx.x] = static_cast<float>(threadIdx.x);
    if (kFirst) __syncthreads();
    out[threadIdx.x] = row[63 - threadIdx.x];
    if (kSecond) __syncthreads();
  }
}

TEST(RaceTest, AMissingBarrierIsNamedWithArrayAndLines) {
  DeviceBuffer<float> out(64);
  EXPECT_EQ(MessageOf([&] { GPU_LAUNCH((Reverse<true, true>), 1, 64, 0, nullptr, out.data()); }), "");
  // The loop's trailing barrier: what was read is overwritten.
  ExpectRace([&] { GPU_LAUNCH((Reverse<true, false>), 1, 64, 0, nullptr, out.data()); },
             {"race (", "read", "write", "row + ", Line(kReverseLine + 2), Line(kReverseLine + 4)});
  ExpectRace([&] { GPU_LAUNCH((Reverse<false, true>), 1, 64, 0, nullptr, out.data()); },
             {"row + ", "race_test.cc"});
}

template <bool kSync>
GPU_KERNEL(32)
PassToNeighbour(int* out) {
  SMEM(int, row, [32]);
  row[LaneId()] = LaneId();
  if (kSync) __syncwarp();
  const int sum = WarpSum(1);  // orders nothing
  if (!kSync) row[LaneId()] += 1;
  out[LaneId()] = row[(LaneId() + 1) % 32] + sum;
}

TEST(RaceTest, AWarpWithoutSyncwarpIsARace) {
  DeviceBuffer<int> out(32);
  EXPECT_EQ(MessageOf([&] { GPU_LAUNCH(PassToNeighbour<true>, 1, 32, 0, nullptr, out.data()); }), "");
  ExpectRace([&] { GPU_LAUNCH(PassToNeighbour<false>, 1, 32, 0, nullptr, out.data()); },
             {"race (", "row + "});
}

GPU_KERNEL(32) SameElement(int* out, int which) {
  if (which == 0) out[threadIdx.x] = 1;             // every block writes the same
  if (which == 1) atomicAdd(&out[threadIdx.x], 1);  // together, but atomically
  if (which == 2) out[GridThread()] = 1;            // each its own
  if (which == 3) out[0] = 1;                       // every thread the same value
  if (which == 4) out[GridThread()] = out[32 - GridThread() % 32];
}

TEST(RaceTest, BlocksRaceOnGlobalMemory) {
  DeviceBuffer<int> out(std::vector<int>(96, 0));
  const auto message = [&](int which) {
    return MessageOf([&] { GPU_LAUNCH(SameElement, 3, 32, 0, nullptr, out.data(), which); });
  };
  InEveryOrder([&] {
    EXPECT_THAT(message(0), HasSubstr("race (write, write)"));
    EXPECT_THAT(message(0), HasSubstr("of block"));
    EXPECT_EQ(message(1), "");
    EXPECT_EQ(message(2), "");
    EXPECT_THAT(message(3), HasSubstr("race (write, write)"));
    EXPECT_THAT(message(4), HasSubstr("race ("));
    EXPECT_EQ(message(2), "") << "what another launch did is over";
  });
}

// Sums of all blocks, added by the last block to finish.
template <bool kCount>
GPU_KERNEL(32)
SumByLastBlock(float* total, float* parts, unsigned* finished) {
  SMEM(unsigned, before, [1]);
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = 1.0f;
    __threadfence();
    before[0] = kCount ? atomicAdd(finished, 1u) : gridDim.x - 1;
  }
  __syncthreads();
  if (before[0] != gridDim.x - 1 || threadIdx.x > 0) return;
  for (unsigned i = 0; i < gridDim.x; ++i) *total += parts[i];
}

TEST(RaceTest, TheLastBlockMayReadWhatTheOthersWrote) {
  InEveryOrder([] {
    DeviceBuffer<float> total(std::vector<float>{0});
    DeviceBuffer<float> parts(4);
    DeviceBuffer<unsigned> finished(std::vector<unsigned>{0});
    const auto run = [&](auto kernel) {
      return MessageOf(
          [&] { GPU_LAUNCH(kernel, 4, 32, 0, nullptr, total.data(), parts.data(), finished.data()); });
    };
    EXPECT_EQ(run(SumByLastBlock<true>), "");
    EXPECT_EQ(total.Read()[0], 4);
    EXPECT_THAT(run(SumByLastBlock<false>), HasSubstr("race ("));
  });
}

GPU_KERNEL(32) ReadUnwritten(float* out, int index) {
  SMEM(float, row, [32]);
  SMEM(float, other, [32]);
  other[threadIdx.x] = 0;
  if (threadIdx.x < 31) row[threadIdx.x] = 1;
  __syncthreads();
  float* base = row;
  out[threadIdx.x] = base[index];
}

TEST(RaceTest, UnwrittenAndForeignSharedMemoryIsNamed) {
  DeviceBuffer<float> out(32);
  const auto message = [&](int index) {
    return MessageOf([&] { GPU_LAUNCH(ReadUnwritten, 1, 32, 0, nullptr, out.data(), index); });
  };
  EXPECT_EQ(message(30), "");
  EXPECT_THAT(message(31), HasSubstr("nobody has written"));
  EXPECT_THAT(message(32), HasSubstr("outside every shared array"));
}

template <bool kBarrier>
GPU_KERNEL(64)
ReadCopies(uint4* out, const uint4* in) {
  SMEM(uint4, tile, [64]);
  CpAsync16(&tile[threadIdx.x], in + threadIdx.x);
  CpAsyncCommit();
  CpAsyncWait<0>();
  if (kBarrier) __syncthreads();
  out[threadIdx.x] = tile[63 - threadIdx.x];
}

TEST(RaceTest, CopiesOfOtherThreadsNeedABarrier) {
  DeviceBuffer<uint4> in(64);
  DeviceBuffer<uint4> out(64);
  EXPECT_EQ(MessageOf([&] { GPU_LAUNCH(ReadCopies<true>, 1, 64, 0, nullptr, out.data(), in.data()); }), "");
  EXPECT_NE(MessageOf([&] { GPU_LAUNCH(ReadCopies<false>, 1, 64, 0, nullptr, out.data(), in.data()); }), "");
}

TEST(RaceTest, NamedBarriersAndMbarriersOrderTheAsynchronousProduct) {
  EXPECT_EQ(MessageOf([] { MaxProductError<ProductFault::kNone>({64, 136, 200}); }), "");
}

}  // namespace
}  // namespace trireme
