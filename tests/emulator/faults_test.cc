// Kernels with a planted fault each: the emulator must name it, or at least spoil the result. A checker that
// finds nothing would pass every other test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "runtime/cuda/gpu.h"
#include "tests/emulator/device_buffer.h"
#include "tests/emulator/emulator.h"
#include "tests/emulator/every_order.h"

namespace trireme {
namespace {

using emulator::MessageOf;
using ::testing::HasSubstr;

GPU_KERNEL(32) Healthy(int* out) {
  out[threadIdx.x] = WarpSum(1);
}

// The launch fails with all of these words in the message, in every order; and the next launch is well.
template <typename Launch>
void ExpectFailure(Launch launch, const std::vector<std::string>& words) {
  InEveryOrder([&] {
    const std::string message = MessageOf(launch);
    for (const std::string& word : words) EXPECT_THAT(message, HasSubstr(word));
    DeviceBuffer<int> out(32);
    GPU_LAUNCH(Healthy, 1, 32, 0, nullptr, out.data());
    EXPECT_EQ(out.Read(), std::vector<int>(32, 32));
  });
}

std::string Line(int line) {
  return "faults_test.cc:" + std::to_string(line);
}

constexpr int kDivergedLine = __LINE__ + 3;
GPU_KERNEL(64) DivergedBarrier() {
  if (threadIdx.x < 32) {  // NOLINT(bugprone-branch-clone): that is the fault
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST(FaultsTest, ADivergedBarrierNamesBothLines) {
  ExpectFailure([] { GPU_LAUNCH(DivergedBarrier, 1, 64, 0, nullptr); },
                {"DivergedBarrier", "block (0, 0, 0)", "__syncthreads: diverged", Line(kDivergedLine),
                 Line(kDivergedLine + 2)});
}

constexpr int kSkippedLine = __LINE__ + 2;
GPU_KERNEL(64) SkippedBarrier() {
  if (threadIdx.x != 5) __syncthreads();
}

TEST(FaultsTest, AThreadThatReturnsBeforeABarrierIsNamed) {
  ExpectFailure([] { GPU_LAUNCH(SkippedBarrier, dim3(1, 2), 64, 0, nullptr); },
                {"SkippedBarrier", "return", Line(kSkippedLine)});
}

GPU_KERNEL(64) BarrierAgainstShuffle(int* out) {
  if (threadIdx.x == 3) __syncthreads();
  out[threadIdx.x] = Shuffle(1, 0);
  if (threadIdx.x != 3) __syncthreads();
}

TEST(FaultsTest, AStuckBlockListsWhoWaitsWhere) {
  ExpectFailure(
      [] {
        DeviceBuffer<int> out(64);
        GPU_LAUNCH(BarrierAgainstShuffle, 1, 64, 0, nullptr, out.data());
      },
      {"BarrierAgainstShuffle", "__syncthreads", "faults_test.cc:"});
}

GPU_KERNEL(32) LostLane(int* out) {
  if (threadIdx.x == 3) __syncthreads();
  out[threadIdx.x] = Shuffle(1, 0);
}

TEST(FaultsTest, EveryThreadWaitingIsStuck) {
  ExpectFailure(
      [] {
        DeviceBuffer<int> out(32);
        GPU_LAUNCH(LostLane, 1, 32, 0, nullptr, out.data());
      },
      {"stuck, every thread waits", "1 threads, the first (3, 0, 0), in __syncthreads",
       "31 threads, the first (0, 0, 0), in __shfl_sync"});
}

GPU_KERNEL(32) DivergedCollective(int* out) {
  if (LaneId() < 16) {
    out[LaneId()] = ShuffleXor(1, 1);
  } else {
    out[LaneId()] = ShuffleDown(1, 1);
  }
}

TEST(FaultsTest, DifferentShufflesThatMeetAreNamed) {
  ExpectFailure(
      [] {
        DeviceBuffer<int> out(32);
        GPU_LAUNCH(DivergedCollective, 1, 32, 0, nullptr, out.data());
      },
      {"__shfl_xor_sync", "meets", "__shfl_down_sync", "faults_test.cc"});
}

GPU_KERNEL(32) MaskWithoutCaller() {
  __syncwarp(0x0000fffeu << (LaneId() / 16 * 16));
}
GPU_KERNEL(32) SourceOutsideMask(int* out) {
  if (LaneId() < 16) out[LaneId()] = __shfl_sync(0x0000ffffu, 1, 16);
}
GPU_KERNEL(32) ReturnedLane(int* out) {
  if (LaneId() == 9) return;
  out[LaneId()] = Shuffle(1, 0);
}
GPU_KERNEL(16) MissingLanes(int* out) {
  out[threadIdx.x] = Shuffle(1, 0);
}

TEST(FaultsTest, WrongMasksAreNamed) {
  DeviceBuffer<int> out(32);
  ExpectFailure([&] { GPU_LAUNCH(MaskWithoutCaller, 1, 32, 0, nullptr); },
                {"does not have the calling lane"});
  ExpectFailure([&] { GPU_LAUNCH(SourceOutsideMask, 1, 32, 0, nullptr, out.data()); }, {"reads lane 16"});
  ExpectFailure([&] { GPU_LAUNCH(ReturnedLane, 1, 32, 0, nullptr, out.data()); }, {"return", "__shfl_sync"});
  ExpectFailure([&] { GPU_LAUNCH(MissingLanes, 1, 16, 0, nullptr, out.data()); }, {"do not exist"});
}

// Reads what another warp writes, with or without the barrier between.
template <bool kBarrier>
GPU_KERNEL(64)
ReadNeighbour(float* out) {
  SMEM(float, row, [64]);
  row[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (kBarrier) __syncthreads();
  out[threadIdx.x] = row[(threadIdx.x + 32) % 64];
}

TEST(FaultsTest, AMissingBarrierGivesNaN) {
  InEveryOrder([] {
    DeviceBuffer<float> out(64);
    GPU_LAUNCH(ReadNeighbour<true>, 1, 64, 0, nullptr, out.data());
    float sum = 0;
    for (const float x : out.Read()) sum += x;
    EXPECT_EQ(sum, 63 * 32);
    GPU_LAUNCH(ReadNeighbour<false>, 1, 64, 0, nullptr, out.data());
    sum = 0;
    for (const float x : out.Read()) sum += x;
    EXPECT_TRUE(std::isnan(sum));
  });
}

GPU_KERNEL(32) ReadUnwritten(float* out) {
  SMEM(float, row, [33]);
  DSMEM(float, dynamic);
  out[2 * threadIdx.x] = row[threadIdx.x];
  out[2 * threadIdx.x + 1] = dynamic[threadIdx.x];
  row[threadIdx.x] = dynamic[threadIdx.x] = 1;
}

TEST(FaultsTest, UnwrittenSharedMemoryIsNaNInEveryBlock) {
  DeviceBuffer<float> out(64);
  GPU_LAUNCH(ReadUnwritten, 3, 32, 128, nullptr, out.data());
  for (const float x : out.Read()) EXPECT_TRUE(std::isnan(x));
}

// Two stages of cp.async; the wait leaves kPending groups in flight.
template <int kPending, bool kCommit, bool kBarrier>
GPU_KERNEL(64)
WaitForCopies(float* out, const float* in) {
  SMEM(float, tile, [2][256]);
  for (int stage = 0; stage < 2; ++stage) {
    CpAsync16(&tile[stage][threadIdx.x * 4], in + stage * 256 + threadIdx.x * 4);
    if (kCommit) CpAsyncCommit();
  }
  CpAsyncWait<kPending>();
  if (kBarrier) __syncthreads();
  out[threadIdx.x] = tile[1][(threadIdx.x * 4 + 128) % 256];
}

TEST(FaultsTest, WaitingForTooLittleGivesNaN) {
  InEveryOrder([] {
    std::vector<float> values(512);
    for (int i = 0; i < 512; ++i) values[i] = static_cast<float>(i);
    DeviceBuffer<float> in(values);
    const auto sum = [&](auto kernel) {
      DeviceBuffer<float> out(64);
      GPU_LAUNCH(kernel, 1, 64, 0, nullptr, out.data(), in.data());
      float total = 0;
      for (const float x : out.Read()) total += x;
      return total;
    };
    EXPECT_EQ(sum(WaitForCopies<0, true, true>), 256 * 64 + 126 * 64);
    EXPECT_TRUE(std::isnan(sum(WaitForCopies<1, true, true>))) << "waits for one group too few";
    EXPECT_TRUE(std::isnan(sum(WaitForCopies<0, false, true>))) << "never commits";
    EXPECT_TRUE(std::isnan(sum(WaitForCopies<0, true, false>))) << "has no barrier behind the wait";
  });
}

GPU_KERNEL(32) MisalignedLdMatrix() {
  SMEM(bf16, tile, [32][20]);  // rows of 40 bytes
  uint32_t registers[4];
  LdMatrix(registers, SharedAddressOf(&tile[LaneId()][0]));
}
GPU_KERNEL(32) LdMatrixOutside() {
  SMEM(bf16, tile, [31][24]);
  uint32_t registers[4];
  LdMatrix(registers, SharedAddressOf(&tile[0][0]) + LaneId() * 48);
}
GPU_KERNEL(32) MisalignedCpAsync(const float* in) {
  SMEM(float, tile, [256]);
  CpAsync16(tile + LaneId() * 4, in + LaneId() * 4 + 1);
}
GPU_KERNEL(32) CpAsyncOutside(const float* in) {
  SMEM(float, tile, [126]);
  CpAsync16(tile + LaneId() * 4, in + LaneId() * 4);
}
GPU_KERNEL(32) NotShared(float* in) {
  SharedAddressOf(in);
}

TEST(FaultsTest, MisplacedRowsAndCopiesAreNamed) {
  DeviceBuffer<float> in(256);
  ExpectFailure([] { GPU_LAUNCH(MisalignedLdMatrix, 1, 32, 0, nullptr); },
                {"LdMatrix", "not a multiple of 16"});
  ExpectFailure([] { GPU_LAUNCH(LdMatrixOutside, 1, 32, 0, nullptr); },
                {"LdMatrix", "outside every shared array"});
  ExpectFailure([&] { GPU_LAUNCH(MisalignedCpAsync, 1, 32, 0, nullptr, in.data()); },
                {"not a multiple of 16"});
  ExpectFailure([&] { GPU_LAUNCH(CpAsyncOutside, 1, 32, 0, nullptr, in.data()); },
                {"outside every shared array"});
  ExpectFailure([&] { GPU_LAUNCH(NotShared, 1, 32, 0, nullptr, in.data()); }, {"not in shared memory"});
}

GPU_KERNEL(32) WriteAt(int index) {
  SMEM(float, small, [30]);
  SMEM(float, next, [8]);
  float* at = small;
  if (threadIdx.x == 0) at[index] = 1.0f;
  if (threadIdx.x == 1) next[0] = 2.0f;
}

// Under AddressSanitizer the write itself is fatal; see the death test.
TEST(FaultsTest, AWriteBehindASharedArrayIsNamed) {
  EXPECT_EQ(MessageOf([] { GPU_LAUNCH(WriteAt, 1, 32, 0, nullptr, 29); }), "");
#ifdef __SANITIZE_ADDRESS__
  EXPECT_DEATH(GPU_LAUNCH(WriteAt, 1, 32, 0, nullptr, 30), "use-after-poison");
#else
  ExpectFailure([] { GPU_LAUNCH(WriteAt, 1, 32, 0, nullptr, 30); }, {"WriteAt", "behind the end of small"});
#endif
}

#ifdef __SANITIZE_ADDRESS__
GPU_KERNEL(32) WriteGlobal(float* out, int shift) {
  out[threadIdx.x + shift] = 1.0f;
}
GPU_KERNEL(32) CopyGlobal(const float* in, int shift) {
  SMEM(float, tile, [128]);
  CpAsync16(tile + threadIdx.x * 4, in + threadIdx.x * 4 + shift);
}

TEST(FaultsTest, AddressSanitizerSeesGlobalOverruns) {
  DeviceBuffer<float> out(32);
  EXPECT_DEATH(GPU_LAUNCH(WriteGlobal, 1, 32, 0, nullptr, out.data(), 1), "heap-buffer-overflow");
  DeviceBuffer<float> in(128);
  ExpectFailure([&] { GPU_LAUNCH(CopyGlobal, 1, 32, 0, nullptr, in.data(), 4); }, {"is not allocated"});
}
#endif

#ifdef __SANITIZE_ADDRESS__  // built together with UndefinedBehaviorSanitizer
GPU_KERNEL(32) Misaligned(float* out) {
  Store(out + 1, Load<4>(out));
}

TEST(FaultsTest, UndefinedBehaviorSanitizerSeesMisalignedVectors) {
  DeviceBuffer<float> out(32);
  EXPECT_DEATH(GPU_LAUNCH(Misaligned, 1, 32, 0, nullptr, out.data()), "misaligned address");
}
#endif

GPU_KERNEL(32) TooMuchShared(float* out) {
  SMEM(float, large, [12 * 1024 + 1]);
  large[threadIdx.x] = 1;
  out[threadIdx.x] = large[threadIdx.x];
}

TEST(FaultsTest, LaunchesBeyondTheLimitsAreRefused) {
  DeviceBuffer<int> out(32);
  DeviceBuffer<float> floats(32);
  ExpectFailure([&] { GPU_LAUNCH(Healthy, 1, 1025, 0, nullptr, out.data()); }, {"a block of 1025 threads"});
  ExpectFailure([&] { GPU_LAUNCH(Healthy, dim3(1, 65536), 32, 0, nullptr, out.data()); }, {"65536"});
  ExpectFailure([&] { GPU_LAUNCH(Healthy, 1, 32, 227 * 1024 + 1, nullptr, out.data()); }, {"dynamic shared"});
  ExpectFailure([&] { GPU_LAUNCH(TooMuchShared, 1, 32, 0, nullptr, floats.data()); }, {"shared array large"});
}

GPU_KERNEL(32) SpinForever(volatile int* flag) {
  while (*flag == 0) __nanosleep(100);
}

TEST(FaultsTest, SpinningForWhatNobodyDoesIsStuck) {
  DeviceBuffer<int> flag(std::vector<int>{0});
  ExpectFailure([&] { GPU_LAUNCH(SpinForever, 1, 32, 0, nullptr, flag.data()); }, {"stuck", "__nanosleep"});
}

TEST(FaultsTest, AThousandFailuresInARowLeaveNothingBehind) {
  for (int i = 0; i < 1000; ++i)
    ASSERT_THAT(MessageOf([] { GPU_LAUNCH(DivergedBarrier, 1, 64, 0, nullptr); }), HasSubstr("diverged"));
}

TEST(FaultsTest, WithoutAskingForAnExceptionTheProcessAborts) {
  EXPECT_DEATH(GPU_LAUNCH(DivergedBarrier, 1, 64, 0, nullptr), "emulator: kernel DivergedBarrier.*diverged");
}

GPU_KERNEL(1) AddTo(int* out, int value) {
  *out += value;
}

class CaptureFaultsTest : public testing::Test {
 protected:
  CaptureFaultsTest() {
    EXPECT_EQ(cudaStreamCreate(&stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamCreate(&other_), cudaSuccess);
    EXPECT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  }
  ~CaptureFaultsTest() override {
    EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(other_), cudaSuccess);
  }
  void Replay(int times) {
    cudaGraph_t graph = nullptr;
    ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
    cudaGraphExec_t ready = nullptr;
    ASSERT_EQ(cudaGraphInstantiate(&ready, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    for (int i = 0; i < times; ++i) EXPECT_EQ(cudaGraphLaunch(ready, stream_), cudaSuccess);
    EXPECT_EQ(cudaGraphExecDestroy(ready), cudaSuccess);
  }

  cudaStream_t stream_ = nullptr, other_ = nullptr;
  DeviceBuffer<int> out_{std::vector<int>{0}};
};

TEST_F(CaptureFaultsTest, AValueIsWhatItWasWhenItWasCaptured) {
  int value = 5;
  GPU_LAUNCH(AddTo, 1, 1, 0, stream_, out_.data(), value);
  value = 7;
  EXPECT_EQ(*out_.data(), 0) << "a captured launch ran";
  Replay(3);
  EXPECT_EQ(out_.Read(), std::vector<int>{15});
}

TEST_F(CaptureFaultsTest, AnotherStreamIsNoPartOfTheGraph) {
  EXPECT_THAT(MessageOf([&] { GPU_LAUNCH(AddTo, 1, 1, 0, other_, out_.data(), 1); }),
              HasSubstr("AddTo is enqueued on another stream than the one that is captured"));
  EXPECT_THAT(MessageOf([&] { GPU_LAUNCH(AddTo, 1, 1, 0, nullptr, out_.data(), 1); }), HasSubstr("AddTo"));
  Replay(0);
}

TEST_F(CaptureFaultsTest, NothingIsAllocatedOrWaitedFor) {
  void* memory = nullptr;
  constexpr cudaError_t kRefused = cudaErrorStreamCaptureUnsupported;
  EXPECT_EQ(cudaMalloc(&memory, 8), kRefused);
  EXPECT_EQ(cudaStreamSynchronize(stream_), kRefused);
  EXPECT_EQ(cudaMemcpy(out_.data(), out_.data(), 4, cudaMemcpyDefault), kRefused);
  EXPECT_EQ(cudaStreamBeginCapture(other_, cudaStreamCaptureModeThreadLocal), kRefused);
  Replay(0);
}

}  // namespace
}  // namespace trireme
