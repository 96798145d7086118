// c [M, N] = a [M, K] b [N, K]^T in bf16 with every word of runtime/cuda/hopper.h: one thread keeps a ring of
// tiles filled by TMA, a warpgroup multiplies them and stores its result by TMA. Any one of its safeguards
// can be left out.
#ifndef TRIREME_TESTS_EMULATOR_PRODUCT_KERNEL_H_
#define TRIREME_TESTS_EMULATOR_PRODUCT_KERNEL_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "runtime/cuda/hopper.h"
#include "tests/emulator/device_buffer.h"

namespace trireme {

enum class ProductFault {
  kNone,
  kNoWaitForTiles,
  kNoWaitForFreeSlot,
  kWrongParityOfTiles,
  kWrongParityOfFreeSlot,
  kTooFewBytes,
  kTooManyBytes,
  kTooFewArrivals,
  kTooManyArrivals,
  kNoWgmmaFence,
  kNoWgmmaCommit,
  kNoWgmmaWait,
  kEarlyRelease,
  kNoBarrierAfterInit,
  kNoBarrierBeforeStore,
  kNoSwizzle,
  kWrongSwizzle,
  kWrongDescriptorStep,
  kSwappedCoordinates,
  kStoreNotCommitted,
  kStoreNotWaitedFor,
  kNoFenceAsync,
};

namespace product {

inline constexpr int kRows = 64;
inline constexpr int kColumns = 128;
inline constexpr int kDepth = kTileColumns;
inline constexpr int kSlots = 2;
inline constexpr int kConsumers = 128;
inline constexpr int kABytes = kRows * kTileRowBytes;
inline constexpr int kSlotBytes = kABytes + kColumns * kTileRowBytes;
inline constexpr int kOutBytes = kRows * kColumns * 2;
inline constexpr int kSharedBytes =
    kSlots * kSlotBytes + kOutBytes + 2 * kSlots * static_cast<int>(sizeof(Mbarrier));

struct Ring {
  unsigned char* slots;
  Mbarrier* full;
  Mbarrier* empty;
};

template <ProductFault kFault>
GPU_FN void Produce(const Ring& ring, const TensorMap& a, const TensorMap& b, int row, int column,
                    int steps) {
  using enum ProductFault;
  for (int step = 0; step < steps; ++step) {
    const int slot = step % kSlots;
    const int round = step / kSlots;
    unsigned char* tiles = ring.slots + slot * kSlotBytes;
    if (kFault != kNoWaitForFreeSlot)
      MbarrierWait(&ring.empty[slot], kFault == kWrongParityOfFreeSlot ? round % 2 : round % 2 ^ 1);
    const int wrong = kFault == kTooFewBytes ? -kABytes : kFault == kTooManyBytes ? 16 : 0;
    MbarrierArriveExpect(&ring.full[slot], kSlotBytes + wrong);
    if (kFault == kSwappedCoordinates) {
      TmaLoad(tiles, a, step * kDepth, row, &ring.full[slot]);
    } else {
      TmaLoad(tiles, a, row, step * kDepth, &ring.full[slot]);
    }
    TmaLoad(tiles + kABytes, b, column, step * kDepth, &ring.full[slot]);
  }
}

template <ProductFault kFault>
GPU_FN void Consume(const Ring& ring, int steps, float (&sums)[kColumns / 2]) {
  using enum ProductFault;
  for (int step = 0; step < steps; ++step) {
    const int slot = step % kSlots;
    const int round = step / kSlots;
    if (kFault != kNoWaitForTiles)
      MbarrierWait(&ring.full[slot], kFault == kWrongParityOfTiles ? round % 2 ^ 1 : round % 2);
    const SharedAddress tiles = SharedAddressOf(ring.slots + slot * kSlotBytes);
    WgmmaHold(sums);
    if (kFault != kNoWgmmaFence) WgmmaFence();
#pragma unroll
    for (int k = 0; k < kDepth / 16; ++k) {
      const int offset = kFault == kWrongDescriptorStep ? 16 * k : 32 * k;
      Wgmma(sums, WgmmaDescriptor(tiles + offset), WgmmaDescriptor(tiles + kABytes + offset), step + k > 0);
    }
    if (kFault != kNoWgmmaCommit) WgmmaCommit();
    if (step > 0) {  // the products of the step before are done: its slot is free
      WgmmaWait<kFault == kEarlyRelease ? 2 : 1>();
      MbarrierArrive(&ring.empty[(step - 1) % kSlots]);
    }
  }
  if (kFault != kNoWgmmaWait) WgmmaWait<0>();
  WgmmaHold(sums);
}

template <ProductFault kFault>
GPU_FN void StoreSums(unsigned char* out, const float (&sums)[kColumns / 2], const TensorMap& c, int row,
                      int column) {
  using enum ProductFault;
#pragma unroll
  for (int pair = 0; pair < kColumns / 4; ++pair) {
    const int r = WarpId() * 16 + LaneId() / 4 + pair % 2 * 8;
    const int n = pair / 2 * 8 + LaneId() % 4 * 2;
    const uint32_t offset = r * kTileRowBytes + n % kTileColumns * 2;
    const uint32_t place = kFault == kWrongSwizzle ? offset ^ (offset >> 6 & 7) << 4 : Swizzle(offset);
    *reinterpret_cast<uint32_t*>(out + n / kTileColumns * (kOutBytes / 2) +
                                 (kFault == kNoSwizzle ? offset : place)) =
        PackBf16(sums[2 * pair], sums[2 * pair + 1]);
  }
  if (kFault != kNoFenceAsync) FenceAsync();
  if (kFault != kNoBarrierBeforeStore) NamedBarrierSync(1, kConsumers);
  if (threadIdx.x == 0) {
    TmaStore(c, row, column, out);
    TmaStore(c, row, column + kTileColumns, out + kOutBytes / 2);
    if (kFault != kStoreNotCommitted) TmaStoreCommit();
    if (kFault != kStoreNotWaitedFor) TmaStoreWait<0>();
  }
}

template <ProductFault kFault>
GPU_KERNEL(2 * kConsumers, 1)
Multiply(GPU_GRID_CONSTANT const TensorMap a, GPU_GRID_CONSTANT const TensorMap b,
         GPU_GRID_CONSTANT const TensorMap c, int depth) {
  using enum ProductFault;
  DSMEM(unsigned char, shared);
  unsigned char* out = shared + kSlots * kSlotBytes;
  Mbarrier* barriers = reinterpret_cast<Mbarrier*>(out + kOutBytes);
  const Ring ring = {shared, barriers, barriers + kSlots};
  const int row = static_cast<int>(blockIdx.y) * kRows;
  const int column = static_cast<int>(blockIdx.x) * kColumns;
  const int steps = CeilDiv(depth, kDepth);
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < kSlots; ++slot) {
      MbarrierInit(&ring.full[slot], 1);
      MbarrierInit(&ring.empty[slot], kFault == kTooFewArrivals    ? kConsumers + 1
                                      : kFault == kTooManyArrivals ? kConsumers / 2
                                                                   : kConsumers);
    }
    MbarrierFenceInit();
  }
  if (kFault != kNoBarrierAfterInit) __syncthreads();
  if (threadIdx.x >= kConsumers) {
    GiveRegisters<40>();
    if (threadIdx.x == kConsumers) Produce<kFault>(ring, a, b, row, column, steps);
  } else {
    TakeRegisters<232>();
    float sums[kColumns / 2] = {};
    Consume<kFault>(ring, steps, sums);
    StoreSums<kFault>(out, sums, c, row, column);
  }
}

// Small integers, exact in bf16 and in every sum.
inline float Small(int64_t i) {
  return static_cast<float>(i * 37 % 17 - 8);
}
inline std::vector<bf16> SmallMatrix(int64_t size, int64_t seed) {
  std::vector<bf16> values(size);
  for (int64_t i = 0; i < size; ++i)
    values[i] =
        std::bit_cast<bf16>(static_cast<uint16_t>(std::bit_cast<uint32_t>(Small(i * 3 + seed)) >> 16));
  return values;
}

}  // namespace product

struct ProductShape {
  int m;
  int n;
  int k;
};

// The largest difference from the exact product rounded to bf16; infinite if there is a NaN.
template <ProductFault kFault>
float MaxProductError(const ProductShape& shape) {
  using namespace product;  // NOLINT(google-build-using-namespace)
  const auto [m, n, k] = shape;
  DeviceBuffer<bf16> a(SmallMatrix(int64_t{m} * k, 1));
  DeviceBuffer<bf16> b(SmallMatrix(int64_t{n} * k, 2));
  DeviceBuffer<bf16> c(int64_t{m} * n);
  cudaMemset(c.data(), 0xff, c.size() * sizeof(bf16));
  GPU_LAUNCH(Multiply<kFault>, dim3(CeilDiv(n, kColumns), CeilDiv(m, kRows)), 2 * kConsumers, kSharedBytes,
             nullptr, MakeTensorMap(a.data(), m, k, k, kRows), MakeTensorMap(b.data(), n, k, k, kColumns),
             MakeTensorMap(c.data(), m, n, n, kRows), k);
  const std::vector<bf16> result = c.Read();
  float worst = 0;
  for (int row = 0; row < m; ++row) {
    for (int column = 0; column < n; ++column) {
      float sum = 0;
      for (int i = 0; i < k; ++i)
        sum += Small((int64_t{row} * k + i) * 3 + 1) * Small((int64_t{column} * k + i) * 3 + 2);
      const float got = ToFloat(result[row * n + column]);
      const float difference = std::abs(got - ToFloat(FromFloat<bf16>(sum)));
      worst = std::isnan(difference) ? std::numeric_limits<float>::infinity() : std::max(worst, difference);
    }
  }
  return worst;
}

}  // namespace trireme

#endif  // TRIREME_TESTS_EMULATOR_PRODUCT_KERNEL_H_
