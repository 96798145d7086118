// Every word of the kernels' language (runtime/cuda/gpu.h) against its definition. The same file built by
// nvcc is the conformance test of the emulator: what holds here must hold on a GPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "runtime/cuda/gpu.h"
#include "runtime/random.h"
#include "tests/emulator/device_buffer.h"
#include "tests/emulator/every_order.h"

namespace trireme {
namespace {

GPU_KERNEL(96) WriteIndices(int* out, dim3 grid, dim3 block) {
  const int block_rank = blockIdx.x + grid.x * (blockIdx.y + grid.y * blockIdx.z);
  const int thread_rank = threadIdx.x + block.x * (threadIdx.y + block.y * threadIdx.z);
  const bool sizes = gridDim.x == grid.x && gridDim.y == grid.y && gridDim.z == grid.z &&
                     blockDim.x == block.x && blockDim.y == block.y && blockDim.z == block.z;
  out[block_rank * 96 + thread_rank] = sizes ? block_rank * 96 + thread_rank : -1;
}

TEST(PrimitivesTest, EveryThreadOfEveryBlockRunsOnce) {
  InEveryOrder([] {
    const dim3 grid(3, 2, 2);
    const dim3 block(8, 4, 3);
    DeviceBuffer<int> out(std::vector<int>(12 * 96, -7));
    GPU_LAUNCH(WriteIndices, grid, block, 0, nullptr, out.data(), grid, block);
    const std::vector<int> result = out.Read();
    for (size_t i = 0; i < result.size(); ++i) EXPECT_EQ(result[i], static_cast<int>(i));
  });
}

TEST(PrimitivesTest, AGridOfNoBlocksRunsNothing) {
  GPU_LAUNCH(WriteIndices, dim3(0), dim3(32), 0, nullptr, nullptr, dim3(0), dim3(32));
}

template <typename T>
GPU_KERNEL(32)
Shuffles(T* out, int argument, int width) {
  const int lane = LaneId();
  const T mine = static_cast<T>(lane * 3 + 1);
  out[lane] = __shfl_sync(kFullMask, mine, argument + lane / 2, width);
  out[32 + lane] = __shfl_up_sync(kFullMask, mine, argument, width);
  out[64 + lane] = __shfl_down_sync(kFullMask, mine, argument, width);
  out[96 + lane] = __shfl_xor_sync(kFullMask, mine, argument, width);
}

template <typename T>
void TestShuffles() {
  for (const int width : {32, 16, 4}) {
    for (const int argument : {0, 1, 3, 7, 17}) {
      DeviceBuffer<T> out(128);
      GPU_LAUNCH(Shuffles<T>, 1, 32, 0, nullptr, out.data(), argument, width);
      const std::vector<T> result = out.Read();
      for (int lane = 0; lane < 32; ++lane) {
        const int first = lane / width * width;
        const int indexed = first + (argument + lane / 2) % width;
        const int up = lane - argument >= first ? lane - argument : lane;
        const int down = lane + argument < first + width ? lane + argument : lane;
        const int crossed = (lane ^ argument) < first + width ? lane ^ argument : lane;
        const int sources[] = {indexed, up, down, crossed};
        for (int i = 0; i < 4; ++i)
          EXPECT_EQ(static_cast<double>(result[32 * i + lane]), sources[i] * 3 + 1)
              << "lane " << lane << " width " << width << " argument " << argument << " kind " << i;
      }
    }
  }
}

TEST(PrimitivesTest, ShufflesReadTheLaneThatTheyShould) {
  InEveryOrder([] {
    TestShuffles<int>();
    TestShuffles<float>();
    TestShuffles<double>();
    TestShuffles<int64_t>();
  });
}

GPU_KERNEL(64) Votes(unsigned* out, unsigned pattern) {
  const bool mine = (pattern >> LaneId() & 1) != 0;
  unsigned* row = out + threadIdx.x * 6;
  row[0] = Ballot(mine);
  row[1] = __any_sync(kFullMask, mine);
  row[2] = __all_sync(kFullMask, mine);
  row[3] = __syncthreads_count(mine);
  row[4] = __syncthreads_or(mine);
  row[5] = __syncthreads_and(mine);
}

TEST(PrimitivesTest, VotesCountLanesAndThreads) {
  InEveryOrder([] {
    for (const unsigned pattern : {0u, 1u, 0x80000000u, 0x12345678u, 0xffffffffu}) {
      DeviceBuffer<unsigned> out(64 * 6);
      GPU_LAUNCH(Votes, 1, 64, 0, nullptr, out.data(), pattern);
      const std::vector<unsigned> result = out.Read();
      for (int thread = 0; thread < 64; ++thread) {
        const unsigned* row = result.data() + thread * 6;
        EXPECT_EQ(row[0], pattern);
        EXPECT_EQ(row[1] != 0, pattern != 0);
        EXPECT_EQ(row[2] != 0, pattern == ~0u);
        EXPECT_EQ(row[3], 2u * __builtin_popcount(pattern));
        EXPECT_EQ(row[4] != 0, pattern != 0);
        EXPECT_EQ(row[5] != 0, pattern == ~0u);
      }
    }
  });
}

GPU_KERNEL(32) HalfWarps(unsigned* out) {
  const bool low = LaneId() < 16;
  const unsigned mask = low ? 0x0000ffffu : 0xffff0000u;
  unsigned sum = 0;
  if (low) {
    sum = __reduce_add_sync(mask, static_cast<unsigned>(LaneId()));
  } else {
    sum = __reduce_max_sync(mask, static_cast<unsigned>(LaneId()));
    __syncwarp(mask);
  }
  out[LaneId()] = sum + 1000 * __reduce_or_sync(kFullMask, 1u << (LaneId() % 3));
}

TEST(PrimitivesTest, PartsOfAWarpCanMeetUnderTheirOwnMasks) {
  InEveryOrder([] {
    DeviceBuffer<unsigned> out(32);
    GPU_LAUNCH(HalfWarps, 1, 32, 0, nullptr, out.data());
    const std::vector<unsigned> result = out.Read();
    for (int lane = 0; lane < 32; ++lane) EXPECT_EQ(result[lane], 7000u + (lane < 16 ? 120u : 31u));
  });
}

GPU_KERNEL(32) Reductions(int* out, const int* in) {
  const int mine = in[LaneId()];
  const unsigned bits = static_cast<unsigned>(mine);
  const int all[6] = {__reduce_add_sync(kFullMask, mine),
                      __reduce_min_sync(kFullMask, mine),
                      __reduce_max_sync(kFullMask, mine),
                      static_cast<int>(__reduce_and_sync(kFullMask, bits)),
                      static_cast<int>(__reduce_or_sync(kFullMask, bits)),
                      static_cast<int>(__reduce_xor_sync(kFullMask, bits))};
  for (int i = 0; i < 6; ++i) out[LaneId() * 6 + i] = all[i];
}

TEST(PrimitivesTest, ReductionsOfAWarpMatchALoop) {
  std::vector<int> values(32);
  for (int i = 0; i < 32; ++i) values[i] = i * 7919 % 101 - 50;
  int expected[6] = {0, values[0], values[0], ~0, 0, 0};
  for (const int v : values) {
    expected[0] += v;
    expected[1] = std::min(expected[1], v);
    expected[2] = std::max(expected[2], v);
    expected[3] &= v;
    expected[4] |= v;
    expected[5] ^= v;
  }
  DeviceBuffer<int> in(values);
  DeviceBuffer<int> out(32 * 6);
  GPU_LAUNCH(Reductions, 1, 32, 0, nullptr, out.data(), in.data());
  const std::vector<int> result = out.Read();
  for (int i = 0; i < 32 * 6; ++i) EXPECT_EQ(result[i], expected[i % 6]) << i;
}

GPU_KERNEL(32) WarpSums(float* out, const float* in) {
  const float mine = in[LaneId()];
  float by_shuffles = mine;
  for (int mask = 16; mask > 0; mask /= 2) by_shuffles += ShuffleXor(by_shuffles, mask);
  float* row = out + LaneId() * 5;
  row[0] = WarpSum(mine) - by_shuffles;
  row[1] = WarpSum<8>(mine);
  row[2] = WarpMax(mine);
  row[3] = WarpMax<4>(mine);
  row[4] = static_cast<float>(WarpSum(static_cast<double>(mine)));
}

TEST(PrimitivesTest, WarpSumAddsAsFiveShufflesDo) {
  const RandomStream stream(1, "warp");
  std::vector<float> values(32);
  for (int i = 0; i < 32; ++i) values[i] = static_cast<float>(stream.Normal(i));
  DeviceBuffer<float> in(values);
  DeviceBuffer<float> out(32 * 5);
  GPU_LAUNCH(WarpSums, 1, 32, 0, nullptr, out.data(), in.data());
  const std::vector<float> result = out.Read();
  double sum = 0;
  for (const float v : values) sum += v;
  for (int lane = 0; lane < 32; ++lane) {
    const float* row = result.data() + lane * 5;
    const int first = lane / 8 * 8;
    const float* v = values.data() + first;
    const float group = ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
    EXPECT_EQ(row[0], 0.0f);
    EXPECT_EQ(row[1], group);
    EXPECT_EQ(row[2], *std::max_element(values.begin(), values.end()));
    EXPECT_EQ(row[3], *std::max_element(values.begin() + lane / 4 * 4, values.begin() + lane / 4 * 4 + 4));
    EXPECT_NEAR(row[4], sum, 1e-6 * 32);
  }
}

GPU_KERNEL(1024) BlockSums(double* out, const float* in) {
  const float mine = in[threadIdx.x];
  float pair[2] = {mine, mine * mine};
  BlockSum(pair);
  const float again = BlockSum(mine);
  const float maximum = BlockMax(-mine);
  const int count = BlockSum(1);
  double* row = out + threadIdx.x * 4;
  row[0] = pair[0] == again ? pair[0] : NAN;
  row[1] = pair[1];
  row[2] = maximum;
  row[3] = count;
}

TEST(PrimitivesTest, BlockSumIsTheSameInEveryThreadAndOrder) {
  const RandomStream stream(2, "block");
  for (const int size : {32, 64, 96, 256, 1024}) {
    std::vector<float> values(size);
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < size; ++i) {
      values[i] = static_cast<float>(stream.Normal(i));
      sum += values[i];
      squares += static_cast<double>(values[i]) * values[i];
    }
    DeviceBuffer<float> in(values);
    std::vector<double> first;
    InEveryOrder([&] {
      DeviceBuffer<double> out(size * 4);
      GPU_LAUNCH(BlockSums, 1, size, 0, nullptr, out.data(), in.data());
      const std::vector<double> result = out.Read();
      if (first.empty()) first = result;
      EXPECT_EQ(result, first);
      EXPECT_NEAR(result[0], sum, 1e-4);
      EXPECT_NEAR(result[1], squares, 1e-3);
      EXPECT_EQ(result[2], -*std::min_element(values.begin(), values.end()));
      for (int thread = 0; thread < size; ++thread) {
        EXPECT_EQ(result[thread * 4], result[0]);
        EXPECT_EQ(result[thread * 4 + 3], size);
      }
    });
  }
}

GPU_KERNEL(64) Atomics(int* sums, unsigned* bits, unsigned long long* wide, int* last) {
  const int i = static_cast<int>(GridThread());
  atomicAdd(&sums[0], i);
  atomicSub(&sums[1], 1);
  atomicMax(&sums[2], i);
  atomicMin(&sums[3], -i);
  atomicOr(&bits[0], 1u << i % 32);
  atomicAnd(&bits[1], ~(1u << i % 16));
  atomicAdd(wide, 1ull << 32);
  atomicExch(&sums[4], 5);
  atomicCAS(&sums[5], 0, 9);
  __threadfence();
  if (atomicAdd(&sums[6], 1) == static_cast<int>(GridThreads()) - 1) *last += 1;
}

TEST(PrimitivesTest, AtomicsOfAllBlocksAddUp) {
  InEveryOrder([] {
    DeviceBuffer<int> sums(std::vector<int>(7, 0));
    DeviceBuffer<unsigned> bits(std::vector<unsigned>{0, ~0u});
    DeviceBuffer<unsigned long long> wide(std::vector<unsigned long long>{0});
    DeviceBuffer<int> last(std::vector<int>{0});
    GPU_LAUNCH(Atomics, 3, 64, 0, nullptr, sums.data(), bits.data(), wide.data(), last.data());
    EXPECT_EQ(sums.Read(), (std::vector<int>{191 * 96, -192, 191, -191, 5, 9, 192}));
    EXPECT_EQ(bits.Read(), (std::vector<unsigned>{~0u, 0xffff0000u}));
    EXPECT_EQ(wide.Read()[0], 192ull << 32);
    EXPECT_EQ(last.Read()[0], 1);
  });
}

GPU_KERNEL(32) BitOperations(int* out) {
  const unsigned x = 0x00f01234u;
  const float one = 1.0f;
  out[0] = __popc(x);
  out[1] = __ffs(static_cast<int>(x));
  out[2] = __clz(static_cast<int>(x));
  out[3] = static_cast<int>(__brev(x));
  out[4] = static_cast<int>(__umulhi(0x80000000u, 6u));
  out[5] = __float_as_int(one);
  out[6] = static_cast<int>(__float_as_uint(__uint_as_float(__float_as_uint(-one))) >> 24);
  out[7] = static_cast<int>(__double_as_longlong(1.0) >> 52);
  out[8] = static_cast<int>(PackBf16(1.0f, 2.0f));
}

TEST(PrimitivesTest, BitOperationsMatchTheirDefinition) {
  DeviceBuffer<int> out(9);
  GPU_LAUNCH(BitOperations, 1, 1, 0, nullptr, out.data());
  EXPECT_EQ(out.Read(), (std::vector<int>{9, 3, 8, 0x2c480f00, 3, 0x3f800000, 0xbf, 0x3ff, 0x40003f80}));
}

GPU_KERNEL(32) PhiloxWords(uint4* out, uint4 counter, uint2 key) {
  if (threadIdx.x == 0) out[0] = Philox(counter, key);
  if (threadIdx.x == 1) out[1] = RandomWords(key, 0x123456789abcdef0u, 5);
}

// Known answers: Random123, tests/kat_vectors, philox4x32 10.
TEST(PrimitivesTest, PhiloxGivesTheWordsOfRandom) {
  struct Answer {
    uint4 counter;
    uint2 key;
    uint4 words;
  };
  const Answer answers[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Answer& answer : answers) {
    DeviceBuffer<uint4> out(2);
    GPU_LAUNCH(PhiloxWords, 1, 32, 0, nullptr, out.data(), answer.counter, answer.key);
    const std::vector<uint4> words = out.Read();
    EXPECT_EQ(words[0].x, answer.words.x);
    EXPECT_EQ(words[0].y, answer.words.y);
    EXPECT_EQ(words[0].z, answer.words.z);
    EXPECT_EQ(words[0].w, answer.words.w);
    const Philox4 host = Philox(Philox4{0x9abcdef0u, 0x12345678u, 5, 0}, {answer.key.x, answer.key.y});
    EXPECT_EQ(words[1].x, host[0]);
    EXPECT_EQ(words[1].w, host[3]);
  }
}

GPU_KERNEL(32) FastFunctions(float* out, const float* in, int n) {
  for (int i = threadIdx.x; i < n; i += 32) {
    out[i] = FastExp2(in[i]);
    out[n + i] = FastExp(in[i]);
    out[2 * n + i] = FastLog(fabsf(in[i]));
    out[3 * n + i] = FastRsqrt(fabsf(in[i]));
    out[4 * n + i] = FastDivide(1.0f, in[i]);
    out[5 * n + i] = rsqrtf(fabsf(in[i]));
  }
}

TEST(PrimitivesTest, FastFunctionsAreCloseToTheTrueOnes) {
  const RandomStream stream(3, "fast");
  const int n = 1000;
  std::vector<float> values(n);
  for (int i = 0; i < n; ++i) values[i] = static_cast<float>(stream.Normal(i) * (i % 10 + 1));
  DeviceBuffer<float> in(values);
  DeviceBuffer<float> out(6 * n);
  GPU_LAUNCH(FastFunctions, 1, 32, 0, nullptr, out.data(), in.data(), n);
  const std::vector<float> result = out.Read();
  for (int i = 0; i < n; ++i) {
    const double x = values[i];
    const double expected[] = {std::exp2(x),
                               std::exp(x),
                               std::log(std::abs(x)),
                               1 / std::sqrt(std::abs(x)),
                               1 / x,
                               1 / std::sqrt(std::abs(x))};
    // exp multiplies its argument's rounding by the argument.
    for (int f = 0; f < 6; ++f)
      EXPECT_NEAR(result[f * n + i], expected[f],
                  (2e-6 + 1e-6 * std::abs(x)) * (std::abs(expected[f]) + (f == 2)))
          << f << " of " << x;
  }
}

}  // namespace
}  // namespace trireme
