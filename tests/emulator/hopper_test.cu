// The words of runtime/cuda/hopper.h against their definitions, and a warp-specialised product that uses all
// of them. As primitives_test.cu, for the emulator and for an H100 or H200.
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <vector>

#include "runtime/cuda/hopper.h"
#include "tests/emulator/device_buffer.h"
#include "tests/emulator/every_order.h"
#include "tests/emulator/product_kernel.h"

namespace trireme {
namespace {

// Exact for integers up to 256 in size.
bf16 ToBf16(float x) {
  return std::bit_cast<bf16>(static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16));
}
float FromBf16(bf16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(std::bit_cast<uint16_t>(x)) << 16);
}
using product::SmallMatrix;

class HopperTest : public testing::Test {
 protected:
  void SetUp() override {
    int major = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
    if (major != 9) GTEST_SKIP() << "this GPU has neither wgmma nor TMA";
  }
};

constexpr int kBoxRows = 16;

// Loads a box, writes out the raw tile, and stores it elsewhere.
GPU_KERNEL(32)
MoveBox(GPU_GRID_CONSTANT const TensorMap from, GPU_GRID_CONSTANT const TensorMap to, int row, int column,
        bf16* raw) {
  DSMEM(unsigned char, shared);
  SMEM(Mbarrier, barrier, [1]);
  if (threadIdx.x == 0) {
    PrefetchTensorMap(from);
    MbarrierInit(barrier, 1);
    MbarrierFenceInit();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    MbarrierArriveExpect(barrier, kBoxRows * kTileRowBytes);
    TmaLoad(shared, from, row, column, barrier);
  }
  MbarrierWait(barrier, 0);
  const bf16* tile = reinterpret_cast<const bf16*>(shared);
  for (int i = threadIdx.x; i < kBoxRows * kTileColumns; i += 32) raw[i] = tile[i];
  __syncthreads();
  if (threadIdx.x == 0) {
    TmaStore(to, row, column, shared);
    TmaStoreCommit();
    TmaStoreWait<0>();
  }
}

TEST_F(HopperTest, TmaMovesSwizzledBoxesAndFillsWithZeros) {
  const int rows = 37;
  const int columns = 152;
  const std::vector<bf16> values = SmallMatrix(rows * columns, 1);
  InEveryOrder([&] {
    for (const int row : {0, 8, 32, -3}) {
      for (const int column : {0, 64, 128, -8}) {
        DeviceBuffer<bf16> from(values);
        DeviceBuffer<bf16> to(std::vector<bf16>(values.size(), ToBf16(99)));
        DeviceBuffer<bf16> raw(kBoxRows * kTileColumns);
        GPU_LAUNCH(MoveBox, 1, 32, kBoxRows * kTileRowBytes, nullptr,
                   MakeTensorMap(from.data(), rows, columns, columns, kBoxRows),
                   MakeTensorMap(to.data(), rows, columns, columns, kBoxRows), row, column, raw.data());
        const std::vector<bf16> tile = raw.Read();
        const std::vector<bf16> copy = to.Read();
        for (int r = 0; r < kBoxRows; ++r) {
          for (int c = 0; c < kTileColumns; ++c) {
            const bool inside = row + r >= 0 && row + r < rows && column + c >= 0 && column + c < columns;
            const int64_t at = (row + r) * columns + column + c;
            const uint32_t place = Swizzle(r * kTileRowBytes + c * 2) / 2;
            ASSERT_EQ(FromBf16(tile[place]), inside ? FromBf16(values[at]) : 0) << row << ", " << column;
          }
        }
        for (int r = 0; r < rows; ++r) {
          for (int c = 0; c < columns; ++c) {
            const bool moved = r >= row && r < row + kBoxRows && c >= column && c < column + kTileColumns;
            ASSERT_EQ(FromBf16(copy[r * columns + c]), moved ? FromBf16(values[r * columns + c]) : 99);
          }
        }
      }
    }
  });
}

// d = a b for one warpgroup, tiles put together by ordinary stores. a is [64][64] (rows along k, or
// transposed), b is [kN][64] or [64][kN].
template <int kN, Major kA, Major kB, bool kRegisters>
GPU_KERNEL(128)
MultiplyOnce(float* d, const bf16* a, const bf16* b) {
  DSMEM(unsigned char, a_tile);
  unsigned char* b_tile = a_tile + 64 * kTileRowBytes;
  for (int i = threadIdx.x; i < 64 * 64; i += 128)
    *reinterpret_cast<bf16*>(a_tile + Swizzle(i * 2)) = a[kA == Major::kK ? i : i % 64 * 64 + i / 64];
  for (int i = threadIdx.x; i < 64 * kN; i += 128) {
    // kK: row is a column of b. kMN: tiles of 64 columns, each with a row for every k.
    const int row = i / 64 % (kB == Major::kK ? kN : 64);
    const int source = kB == Major::kK ? row + i % 64 * kN : row * kN + i / 4096 * 64 + i % 64;
    *reinterpret_cast<bf16*>(b_tile + Swizzle(i * 2)) = b[source];
  }
  FenceAsync();
  __syncthreads();
  float sums[kN / 2] = {};
  for (int step = 0; step < 4; ++step) {
    constexpr int kStepA = kA == Major::kK ? 32 : 2048;
    constexpr int kStepB = kB == Major::kK ? 32 : 2048;
    const uint64_t b_step = WgmmaDescriptor(SharedAddressOf(b_tile) + step * kStepB, 64 * kTileRowBytes);
    WgmmaHold(sums);
    if constexpr (kRegisters) {
      uint32_t fragment[4];
      for (int i = 0; i < 4; ++i) {
        const int row = WarpId() * 16 + LaneId() / 4 + i % 2 * 8;
        const bf16* at = a + row * 64 + step * 16 + LaneId() % 4 * 2 + i / 2 * 8;
        fragment[i] = PackBf16(ToFloat(at[0]), ToFloat(at[1]));
      }
      WgmmaFence();
      WgmmaFromRegisters<kB>(sums, fragment, b_step, step > 0);
    } else {
      WgmmaFence();
      Wgmma<kA, kB>(sums, WgmmaDescriptor(SharedAddressOf(a_tile) + step * kStepA), b_step, step > 0);
    }
    WgmmaCommit();
  }
  WgmmaWait<0>();
  WgmmaHold(sums);
  for (int i = 0; i < kN / 2; ++i) {
    const int row = WarpId() * 16 + LaneId() / 4 + i / 2 % 2 * 8;
    d[row * kN + i / 4 * 8 + LaneId() % 4 * 2 + i % 2] = sums[i];
  }
}

template <int kN, Major kA, Major kB, bool kRegisters = false>
void TestMultiplyOnce() {
  const std::vector<bf16> a = SmallMatrix(64 * 64, 2);  // [row][k]
  const std::vector<bf16> b = SmallMatrix(64 * kN, 3);  // [k][column]
  DeviceBuffer<bf16> a_device(a);
  DeviceBuffer<bf16> b_device(b);
  DeviceBuffer<float> d(64 * kN);
  GPU_LAUNCH((MultiplyOnce<kN, kA, kB, kRegisters>), 1, 128, 64 * kTileRowBytes + 64 * kN * 2, nullptr,
             d.data(), a_device.data(), b_device.data());
  const std::vector<float> result = d.Read();
  for (int row = 0; row < 64; ++row) {
    for (int column = 0; column < kN; ++column) {
      float sum = 0;
      for (int k = 0; k < 64; ++k) sum += FromBf16(a[row * 64 + k]) * FromBf16(b[k * kN + column]);
      ASSERT_EQ(result[row * kN + column], sum) << row << ", " << column << " of width " << kN;
    }
  }
}

TEST_F(HopperTest, WgmmaMultipliesTilesOfBothMajors) {
  InEveryOrder([] {
    TestMultiplyOnce<64, Major::kK, Major::kK>();
    TestMultiplyOnce<128, Major::kK, Major::kK>();
    TestMultiplyOnce<256, Major::kK, Major::kK>();
    TestMultiplyOnce<64, Major::kK, Major::kMN>();
    TestMultiplyOnce<128, Major::kK, Major::kMN>();
    TestMultiplyOnce<128, Major::kMN, Major::kMN>();
    TestMultiplyOnce<64, Major::kMN, Major::kK>();
  });
}

TEST_F(HopperTest, WgmmaTakesAFromRegisters) {
  InEveryOrder([] {
    TestMultiplyOnce<64, Major::kK, Major::kK, true>();
    TestMultiplyOnce<128, Major::kK, Major::kMN, true>();
    TestMultiplyOnce<256, Major::kK, Major::kMN, true>();
  });
}

TEST_F(HopperTest, AWarpSpecialisedProductIsRight) {
  InEveryOrder([] {
    for (const ProductShape& shape :
         {ProductShape{200, 136, 328}, ProductShape{64, 128, 64}, ProductShape{1, 8, 8}})
      EXPECT_EQ(MaxProductError<ProductFault::kNone>(shape), 0)
          << shape.m << " x " << shape.n << " x " << shape.k;
  });
}

}  // namespace
}  // namespace trireme
