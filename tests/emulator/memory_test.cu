// Vectors, shared memory, cp.async, ldmatrix and mma of runtime/cuda/gpu.h against their definitions. As
// primitives_test.cu, for the emulator and for a GPU.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "runtime/cuda/gpu.h"
#include "tests/emulator/device_buffer.h"
#include "tests/emulator/every_order.h"

namespace trireme {
namespace {

uint16_t BitsOf(bf16 x) {
  return std::bit_cast<uint16_t>(x);
}

template <typename T, int N>
GPU_KERNEL(32)
CopyVectors(T* out, const T* in) {
  const int64_t i = GridThread() * N;
  Store(out + i, Load<N>(in + i));
  StoreStreaming(out + 64 * N + i, LoadStreaming<N>(in + i));
  SMEM(T, tile, [32 * N]);
  Store(tile + threadIdx.x * N, Load<N>(in + i));
  __syncthreads();
  Store(out + 128 * N + i, Load<N>(tile + threadIdx.x * N));
}

template <typename T, int N>
void TestVectors() {
  std::vector<T> values(64 * N);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint64_t word = i * 0x9E3779B97F4A7C15u;
    std::memcpy(static_cast<void*>(&values[i]), &word, sizeof(T));
  }
  DeviceBuffer<T> in(values);
  DeviceBuffer<T> out(3 * values.size());
  GPU_LAUNCH((CopyVectors<T, N>), 2, 32, 0, nullptr, out.data(), in.data());
  const std::vector<T> result = out.Read();
  for (int copy = 0; copy < 3; ++copy)
    EXPECT_EQ(std::memcmp(result.data() + copy * values.size(), values.data(), values.size() * sizeof(T)), 0)
        << sizeof(T) << " bytes, " << N << " elements, copy " << copy;
}

TEST(MemoryTest, VectorsOfEverySizeAreCopiedWhole) {
  TestVectors<bf16, 1>();
  TestVectors<bf16, 2>();
  TestVectors<bf16, 4>();
  TestVectors<bf16, 8>();
  TestVectors<bf16, 16>();
  TestVectors<float, 1>();
  TestVectors<float, 4>();
  TestVectors<float, 8>();
  TestVectors<int, 2>();
  TestVectors<uint8_t, 16>();
  TestVectors<int64_t, 2>();
}

TEST(MemoryTest, AVectorNeedsAnAlignedRow) {
  alignas(16) const float row[8] = {};
  EXPECT_TRUE(IsVectorAligned(row));
  EXPECT_TRUE(IsVectorAligned(row, 12));
  EXPECT_FALSE(IsVectorAligned(row, 6));
  EXPECT_FALSE(IsVectorAligned(row + 1));
}

GPU_KERNEL(32) Convert(bf16* out, const float* in, int n) {
  for (int i = threadIdx.x; i < n / 2; i += 32) {
    Store(out + 2 * i, FromFloat<bf16>(Load<2>(in + 2 * i)));
    out[n + 2 * i] = FromFloat<bf16>(in[2 * i]);
    out[n + 2 * i + 1] = FromFloat<bf16>(ToFloat(FromFloat<bf16>(in[2 * i + 1])));
  }
}

TEST(MemoryTest, Bf16RoundsToNearestEven) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {0.0f,  -0.0f,    1.0f,     1.00390625f, 1.01171875f, 1.0039065f,
                                     -3.1f, infinity, 3.39e38f, 1e-40f,      NAN,         1e38f};
  const uint16_t expected[] = {0x0000, 0x8000, 0x3f80, 0x3f80, 0x3f82, 0x3f81,
                               0xc046, 0x7f80, 0x7f7f, 0x0001, 0x7fff, 0x7e96};
  const int n = static_cast<int>(values.size());
  DeviceBuffer<float> in(values);
  DeviceBuffer<bf16> out(2 * n);
  GPU_LAUNCH(Convert, 1, 32, 0, nullptr, out.data(), in.data(), n);
  const std::vector<bf16> result = out.Read();
  for (int i = 0; i < 2 * n; ++i)
    EXPECT_EQ(BitsOf(result[i]), expected[i % n]) << values[i % n] << " way " << i / n;
}

GPU_KERNEL(64) UseDynamic(int* out, int words) {
  DSMEM(int, dynamic);
  SMEM(int, fixed, [64]);
  for (int i = threadIdx.x; i < words; i += 64) dynamic[i] = i;
  fixed[threadIdx.x] = -static_cast<int>(threadIdx.x);
  __syncthreads();
  int wrong = SharedAddressOf(dynamic) % 1024 == 0 ? 0 : 1;
  for (int i = threadIdx.x; i < words; i += 64) wrong += dynamic[words - 1 - i] != words - 1 - i;
  wrong += fixed[63 - threadIdx.x] != static_cast<int>(threadIdx.x) - 63;
  out[GridThread()] = wrong;
}

TEST(MemoryTest, DynamicSharedMemoryReachesItsLimit) {
  InEveryOrder([] {
    for (const int bytes : {1024, 48 * 1024, 226 * 1024}) {
      DeviceBuffer<int> out(128);
      GPU_LAUNCH(UseDynamic, 2, 64, bytes, nullptr, out.data(), bytes / 4);
      EXPECT_EQ(out.Read(), std::vector<int>(128, 0)) << bytes;
    }
  });
}

// A ring of three slots, each filled by its thread two steps ahead; from `valid` on, zeros.
GPU_KERNEL(64) CopyThroughRing(uint4* out, const uint4* in, int steps, int valid) {
  SMEM(uint4, ring, [3][64]);
  const int thread = threadIdx.x;
  const auto issue = [&](int step) {
    const int i = step * 64 + thread;
    if (step < steps) CpAsync16(&ring[step % 3][thread], in + (i < valid ? i : 0), i < valid);
    CpAsyncCommit();
  };
  issue(0);
  issue(1);
  for (int step = 0; step < steps; ++step) {
    CpAsyncWait<1>();
    __syncthreads();
    issue(step + 2);
    out[step * 64 + thread] = ring[step % 3][63 - thread];
  }
}

TEST(MemoryTest, CpAsyncFillsAPipelineAndZeros) {
  InEveryOrder([] {
    const int steps = 7;
    const int valid = 6 * 64 + 10;
    std::vector<uint4> values(valid);
    for (int i = 0; i < valid; ++i) values[i] = {1u + i, 2u + i, 3u + i, 4u + i};
    DeviceBuffer<uint4> in(values);
    DeviceBuffer<uint4> out(steps * 64);
    GPU_LAUNCH(CopyThroughRing, 1, 64, 0, nullptr, out.data(), in.data(), steps, valid);
    const std::vector<uint4> result = out.Read();
    for (int i = 0; i < steps * 64; ++i) {
      const int source = i / 64 * 64 + 63 - i % 64;
      EXPECT_EQ(result[i].x, source < valid ? 1u + source : 0u) << i;
      EXPECT_EQ(result[i].w, source < valid ? 4u + source : 0u) << i;
    }
  });
}

// Elements are their own index, in rows of 24: rows 16 bytes apart from a multiple of 32.
GPU_KERNEL(32) LoadMatrices(uint32_t* out) {
  SMEM(uint16_t, tile, [32][24]);
  for (int i = threadIdx.x; i < 32 * 24; i += 32) tile[i / 24][i % 24] = static_cast<uint16_t>(i);
  __syncwarp();
  uint32_t straight[4];
  uint32_t transposed[4];
  LdMatrix(straight, SharedAddressOf(&tile[LaneId()][8]));
  LdMatrixTrans(transposed, SharedAddressOf(&tile[LaneId()][8]));
  for (int m = 0; m < 4; ++m) {
    out[(m * 32 + LaneId()) * 2] = straight[m];
    out[(m * 32 + LaneId()) * 2 + 1] = transposed[m];
  }
}

TEST(MemoryTest, LdMatrixGivesEachLaneItsFragment) {
  InEveryOrder([] {
    DeviceBuffer<uint32_t> out(4 * 32 * 2);
    GPU_LAUNCH(LoadMatrices, 1, 32, 0, nullptr, out.data());
    const std::vector<uint32_t> result = out.Read();
    const auto element = [](int m, int row, int column) { return uint32_t((m * 8 + row) * 24 + 8 + column); };
    for (int m = 0; m < 4; ++m) {
      for (int lane = 0; lane < 32; ++lane) {
        const int group = lane / 4;
        const int pair = lane % 4 * 2;
        const uint32_t* words = result.data() + (m * 32 + lane) * 2;
        EXPECT_EQ(words[0], element(m, group, pair) | element(m, group, pair + 1) << 16);
        EXPECT_EQ(words[1], element(m, pair, group) | element(m, pair + 1, group) << 16);
      }
    }
  });
}

// c [16, 8] = start + a [16, 16] b [16, 8] by fragments put together by hand.
GPU_KERNEL(32) MultiplyFragments(float* c, const bf16* a, const bf16* b, const float* start) {
  const int group = LaneId() / 4;
  const int pair = LaneId() % 4 * 2;
  uint32_t fragment[4];
  for (int i = 0; i < 4; ++i) {
    const bf16* at = a + (group + i % 2 * 8) * 16 + pair + i / 2 * 8;
    fragment[i] = PackBf16(ToFloat(at[0]), ToFloat(at[1]));
  }
  uint32_t columns[2];
  for (int i = 0; i < 2; ++i) {
    const bf16* at = b + (pair + i * 8) * 8 + group;
    columns[i] = PackBf16(ToFloat(at[0]), ToFloat(at[8]));
  }
  float sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = start[(group + i / 2 * 8) * 8 + pair + i % 2];
  MmaBf16(sums, fragment, columns[0], columns[1]);
  for (int i = 0; i < 4; ++i) c[(group + i / 2 * 8) * 8 + pair + i % 2] = sums[i];
}

// The same product through shared memory: a by LdMatrix, b stored [k][column] by LdMatrixTrans.
GPU_KERNEL(32) MultiplyTiles(float* c, const bf16* a, const bf16* b, const float* start) {
  SMEM(bf16, a_tile, [16][24]);
  SMEM(bf16, b_tile, [16][8]);
  for (int i = LaneId(); i < 256; i += 32) a_tile[i / 16][i % 16] = a[i];
  for (int i = LaneId(); i < 128; i += 32) b_tile[i / 8][i % 8] = b[i];
  __syncwarp();
  uint32_t a_fragment[4];
  uint32_t b_fragment[4];
  LdMatrix(a_fragment, SharedAddressOf(&a_tile[LaneId() % 16][LaneId() / 16 * 8]));
  LdMatrixTrans(b_fragment, SharedAddressOf(&b_tile[LaneId() % 16][0]));
  const int row = LaneId() / 4;
  const int column = LaneId() % 4 * 2;
  float sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = start[(row + i / 2 * 8) * 8 + column + i % 2];
  MmaBf16(sums, a_fragment, b_fragment[0], b_fragment[1]);
  for (int i = 0; i < 4; ++i) c[(row + i / 2 * 8) * 8 + column + i % 2] = sums[i];
}

TEST(MemoryTest, MmaMultipliesExactlyWhatItsLayoutSays) {
  // Small integers: every sum is exact, whatever the order of adding.
  std::vector<bf16> a(16 * 16);
  std::vector<bf16> b(16 * 8);
  std::vector<float> start(16 * 8);
  const auto small = [](int i) { return static_cast<float>(i * 37 % 17 - 8); };
  const auto to_bf16 = [](float x) {  // exact for these
    return std::bit_cast<bf16>(static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16));
  };
  for (int i = 0; i < 256; ++i) a[i] = to_bf16(small(i));
  for (int i = 0; i < 128; ++i) b[i] = to_bf16(small(i + 5));
  for (int i = 0; i < 128; ++i) start[i] = static_cast<float>(i);
  std::vector<float> expected = start;
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column)
      for (int k = 0; k < 16; ++k)
        expected[row * 8 + column] += small(row * 16 + k) * small(k * 8 + column + 5);
  InEveryOrder([&] {
    DeviceBuffer<bf16> a_device(a);
    DeviceBuffer<bf16> b_device(b);
    DeviceBuffer<float> start_device(start);
    DeviceBuffer<float> c(16 * 8);
    GPU_LAUNCH(MultiplyFragments, 1, 32, 0, nullptr, c.data(), a_device.data(), b_device.data(),
               start_device.data());
    EXPECT_EQ(c.Read(), expected);
    DeviceBuffer<float> d(16 * 8);
    GPU_LAUNCH(MultiplyTiles, 1, 32, 0, nullptr, d.data(), a_device.data(), b_device.data(),
               start_device.data());
    EXPECT_EQ(d.Read(), expected);
  });
}

}  // namespace
}  // namespace trireme
