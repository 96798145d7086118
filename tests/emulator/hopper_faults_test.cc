// The warp-specialised product with one safeguard left out at a time, and misuse of the asynchronous words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "runtime/cuda/hopper.h"
#include "tests/emulator/device_buffer.h"
#include "tests/emulator/emulator.h"
#include "tests/emulator/product_kernel.h"

namespace trireme {
namespace {

using emulator::MessageOf;
using emulator::Order;
using ::testing::HasSubstr;

// Whether an order gives an error or a wrong result.
template <ProductFault kFault>
bool IsSeen(Order order) {
  emulator::SetOrder(order, 3);
  float error = 0;
  const std::string message = MessageOf([&] { error = MaxProductError<kFault>({130, 136, 330 / 8 * 8}); });
  emulator::SetOrder(Order::kForward);
  return !message.empty() || error != 0;
}

struct Sighting {
  bool forward;
  bool reverse;
};

template <int kFault>
void CollectSightings(std::vector<Sighting>& sightings) {
  constexpr auto kThis = static_cast<ProductFault>(kFault);
  sightings.push_back({IsSeen<kThis>(Order::kForward), IsSeen<kThis>(Order::kReverse)});
}

template <int... kFaults>
std::vector<Sighting> AllSightings(std::integer_sequence<int, kFaults...>) {
  std::vector<Sighting> sightings;
  (CollectSightings<kFaults>(sightings), ...);
  return sightings;
}

TEST(HopperFaultsTest, EveryMissingSafeguardIsSeen) {
  constexpr int kNumFaults = static_cast<int>(ProductFault::kNoFenceAsync) + 1;
  const std::vector<Sighting> sightings = AllSightings(std::make_integer_sequence<int, kNumFaults>());
  EXPECT_FALSE(sightings[0].forward || sightings[0].reverse) << "nothing is left out";
  int forward = 0;
  for (int fault = 1; fault < kNumFaults; ++fault) {
    EXPECT_TRUE(sightings[fault].forward || sightings[fault].reverse) << "fault " << fault;
    forward += sightings[fault].forward ? 1 : 0;
  }
  EXPECT_GE(forward, kNumFaults - 3) << "nearly all show in the plain forward order";
}

std::string Place(int line) {
  return "hopper_faults_test.cc:" + std::to_string(line);
}

constexpr int kLostLine = __LINE__ + 8;
GPU_KERNEL(32) WaitForNobody() {
  SMEM(Mbarrier, barrier, [1]);
  if (threadIdx.x == 0) {
    MbarrierInit(barrier, 2);
    MbarrierArrive(barrier);
  }
  __syncthreads();
  MbarrierWait(barrier, 0);
}

GPU_KERNEL(32) ArriveTooOften() {
  SMEM(Mbarrier, barrier, [2]);
  if (threadIdx.x > 0) return;
  MbarrierInit(barrier, 1);
  MbarrierArriveExpect(barrier, 16);
  MbarrierArrive(barrier);
}

GPU_KERNEL(32) ArriveAtNothing() {
  SMEM(Mbarrier, barrier, [1]);
  MbarrierArrive(barrier);
}

TEST(HopperFaultsTest, MisusedMbarriersAreNamed) {
  const std::string lost = MessageOf([] { GPU_LAUNCH(WaitForNobody, 1, 32, 0, nullptr); });
  EXPECT_THAT(lost, HasSubstr("stuck, every thread waits"));
  EXPECT_THAT(lost, HasSubstr("32 threads, the first (0, 0, 0), in MbarrierWait at "));
  EXPECT_THAT(lost, HasSubstr(Place(kLostLine)));
  EXPECT_THAT(MessageOf([] { GPU_LAUNCH(ArriveTooOften, 1, 32, 0, nullptr); }), HasSubstr("more arrivals"));
  EXPECT_THAT(MessageOf([] { GPU_LAUNCH(ArriveAtNothing, 1, 32, 0, nullptr); }),
              HasSubstr("not initialised"));
}

GPU_KERNEL(32) LoadTile(GPU_GRID_CONSTANT const TensorMap map, int offset, bool wait) {
  DSMEM(unsigned char, shared);
  SMEM(Mbarrier, barrier, [1]);
  if (threadIdx.x > 0) return;
  MbarrierInit(barrier, 1);
  MbarrierArriveExpect(barrier, 8 * kTileRowBytes);
  TmaLoad(shared + offset, map, 0, 0, barrier);
  if (wait) MbarrierWait(barrier, 0);
}

TEST(HopperFaultsTest, MisplacedAndForgottenTilesAreNamed) {
  DeviceBuffer<bf16> matrix(64 * 64);
  const TensorMap map = MakeTensorMap(matrix.data(), 64, 64, 64, 8);
  const auto load = [&](int offset, bool wait) {
    return MessageOf([&] { GPU_LAUNCH(LoadTile, 1, 32, 2048, nullptr, map, offset, wait); });
  };
  EXPECT_EQ(load(1024, true), "");
  EXPECT_THAT(load(128, true), HasSubstr("not aligned to 1024"));
  EXPECT_THAT(load(2048, true), HasSubstr("outside every shared array"));
  EXPECT_THAT(load(0, false), HasSubstr("while a TMA load is in flight"));
}

GPU_KERNEL(256) MeetInWrongNumbers() {
  if (threadIdx.x < 128) {
    NamedBarrierSync(1, 256);
  } else {
    NamedBarrierSync(1, 128);
  }
}
GPU_KERNEL(64) MeetAtZero() {
  NamedBarrierSync(0, 64);
}

TEST(HopperFaultsTest, MisusedNamedBarriersAreNamed) {
  EXPECT_THAT(MessageOf([] { GPU_LAUNCH(MeetInWrongNumbers, 1, 256, 0, nullptr); }),
              HasSubstr("meets one of"));
  EXPECT_THAT(MessageOf([] { GPU_LAUNCH(MeetAtZero, 1, 64, 0, nullptr); }), HasSubstr("barrier 0 of 64"));
}

// Products of tiles that are not there, not the same for all, or not waited for.
template <int kCase>
GPU_KERNEL(128)
MisuseWgmma(float* out) {
  DSMEM(unsigned char, shared);
  for (int i = threadIdx.x; i < 4096; i += 128) reinterpret_cast<uint32_t*>(shared)[i] = 0;
  FenceAsync();
  __syncthreads();
  float sums[32] = {};
  const SharedAddress tile = SharedAddressOf(shared);
  uint64_t a = WgmmaDescriptor(tile);
  if (kCase == 1) a = WgmmaDescriptor(tile + 12 * 1024);
  if (kCase == 2) a = WgmmaDescriptor(tile + (WarpId() == 3 ? 32 : 0));
  if (kCase == 3) a &= ~(uint64_t{3} << 62);
  WgmmaFence();
  Wgmma(sums, a, WgmmaDescriptor(tile + 8192), false);
  WgmmaCommit();
  if (kCase != 4) WgmmaWait<0>();
  out[threadIdx.x] = sums[0];
}

TEST(HopperFaultsTest, MisusedWgmmaIsNamed) {
  DeviceBuffer<float> out(128);
  const auto message = [&](auto kernel) {
    return MessageOf([&] { GPU_LAUNCH(kernel, 1, 128, 16384, nullptr, out.data()); });
  };
  EXPECT_EQ(message(MisuseWgmma<0>), "");
  EXPECT_EQ(out.Read(), std::vector<float>(128, 0.0f));
  EXPECT_THAT(message(MisuseWgmma<1>), HasSubstr("a outside every shared array"));
  EXPECT_THAT(message(MisuseWgmma<2>), HasSubstr("do not ask for the same product"));
  EXPECT_THAT(message(MisuseWgmma<3>), HasSubstr("128-byte swizzle"));
  EXPECT_THAT(message(MisuseWgmma<4>), HasSubstr("products in flight"));
}

}  // namespace
}  // namespace trireme
