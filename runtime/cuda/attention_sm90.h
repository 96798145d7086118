// Tiles that TMA copies and wgmma multiplies, and the roles of warpgroups: what attention's kernels for
// Hopper are made of.
//
// A block has consumer warpgroups, each of which owns 64 rows of the block's resident tiles, and as its last
// warpgroup a producer. Accumulators are float[columns / 2], in wgmma's layout: element i of a lane is row
// 16 (warp of the group) + lane / 4 + 8 HalfOf(i) and column ColumnOf(i).
#ifndef TRIREME_RUNTIME_CUDA_ATTENTION_SM90_H_
#define TRIREME_RUNTIME_CUDA_ATTENTION_SM90_H_

#include "runtime/cuda/attention_operands.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/hopper.h"

namespace trireme {

inline constexpr int kGroupThreads = 128;
inline constexpr int kGroupWarps = kGroupThreads / kWarpSize;
inline constexpr int kGroupRows = 64;

// The warpgroup of this thread. The shuffle tells the compiler that it is the same in all lanes.
GPU_FN int WarpGroup() {
  return Shuffle(static_cast<int>(threadIdx.x) / kGroupThreads, 0);
}
GPU_FN int HalfOf(int i) {
  return i / 2 % 2;
}
GPU_FN int ColumnOf(int i) {
  return i / 4 * 8 + LaneId() % 4 * 2 + i % 2;
}
// The first of this lane's two rows; the other is 8 further.
GPU_FN int RowInGroup() {
  return WarpId() % kGroupWarps * 16 + LaneId() / 4;
}

// Rows of a head in shared memory: a box of [rows, 64 columns], swizzled, for every 64 columns.
struct SwizzledTile {
  unsigned char* memory;
  int box_bytes;  // from a box to the next

  // From a row on that is a multiple of 8.
  GPU_FN SwizzledTile From(int row) const { return {memory + row * kTileRowBytes, box_bytes}; }
  GPU_FN unsigned char* Box(int box) const { return memory + box * box_bytes; }
  GPU_FN SharedAddress Address(int box) const { return SharedAddressOf(Box(box)); }
};
template <int kRows, int kHead>
inline constexpr int kSwizzledBytes = kRows* kHead* static_cast<int>(sizeof(bf16));

// One thread starts the copy of rows [row, row + the map's box_rows) of the head at `column`.
template <int kHead>
GPU_FN void LoadTile(const SwizzledTile& tile, const TensorMap& map, int row, int64_t column,
                     Mbarrier* barrier) {
#pragma unroll
  for (int box = 0; box < kHead / kTileColumns; ++box) {
    TmaLoad(tile.Box(box), map, row, static_cast<int>(column) + box * kTileColumns, barrier);
  }
}

// A ring of stages that a producer fills and consumers empty: full when the copies have landed, empty when
// all consumer warps have read them.
struct Stage {
  Mbarrier full, empty;

  // One thread, before all others use it. `arrivals`: of the producer's lanes.
  GPU_FN void Init(int arrivals, int consumer_warps) {
    MbarrierInit(&full, arrivals);
    MbarrierInit(&empty, consumer_warps);
  }
  // A consumer warp says that it has read the stage.
  GPU_FN void Release() {
    __syncwarp();
    if (LaneId() == 0) MbarrierArrive(&empty);
  }
};
template <int kStages>
GPU_FN int ParityOf(int tile) {
  return tile / kStages % 2;
}

// Issues c = a b^T: a is 64 rows, b 2 kSize rows; the sum is over the head.
template <int kHead, int kSize>
GPU_FN void StartProductOverHead(float (&c)[kSize], const SwizzledTile& a, const SwizzledTile& b) {
#pragma unroll
  for (int k = 0; k < kHead; k += 16) {
    const uint32_t step = k % kTileColumns * sizeof(bf16);
    Wgmma<Major::kK, Major::kK>(c, WgmmaDescriptor(a.Address(k / kTileColumns) + step),
                                WgmmaDescriptor(b.Address(k / kTileColumns) + step), k > 0);
  }
}

// Issues c += w b: w is the group's rows in registers, b has a row for each of w's columns.
template <int kSize, int kSteps>
GPU_FN void StartAddOverRows(float (&c)[kSize], const uint32_t (&w)[kSteps][4], const SwizzledTile& b) {
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
    WgmmaFromRegisters<Major::kMN>(c, w[k], WgmmaDescriptor(b.From(16 * k).Address(0), b.box_bytes), true);
  }
}

// Rounds an accumulator to the left operand of the next product.
template <int kSize>
GPU_FN void Round(uint32_t (&w)[kSize / 8][4], const float (&c)[kSize]) {
#pragma unroll
  for (int i = 0; i < kSize / 2; ++i) w[i / 4][i % 4] = PackBf16(c[2 * i], c[2 * i + 1]);
}

template <int kSize>
GPU_FN void SetZero(float (&c)[kSize]) {
#pragma unroll
  for (int i = 0; i < kSize; ++i) c[i] = 0;
}

// Writes the group's rows, times a factor a row, to the box of `map` at (row, column). They go through a tile
// that nobody reads any more. `barrier`: a named barrier of this group alone.
template <int kSize>
GPU_FN void StoreTile(const float (&c)[kSize], const float (&factor)[2], const SwizzledTile& tile,
                      const TensorMap& map, int row, int64_t column, int barrier) {
#pragma unroll
  for (int i = 0; i < kSize; i += 2) {
    const uint32_t offset = (RowInGroup() + 8 * HalfOf(i)) * kTileRowBytes +
                            ColumnOf(i) % kTileColumns * static_cast<int>(sizeof(bf16));
    *reinterpret_cast<uint32_t*>(tile.Box(i / 4 * 8 / kTileColumns) + Swizzle(offset)) =
        PackBf16(c[i] * factor[HalfOf(i)], c[i + 1] * factor[HalfOf(i)]);
  }
  FenceAsync();
  NamedBarrierSync(barrier, kGroupThreads);
  if (threadIdx.x % kGroupThreads == 0) {
    for (int box = 0; box < 2 * kSize / kTileColumns; ++box) {
      TmaStore(map, row, static_cast<int>(column) + box * kTileColumns, tile.Box(box));
    }
    TmaStoreCommit();
    TmaStoreWait<0>();
  }
}

// Calls f with the head size, 64 or 128, as a std::integral_constant.
template <typename F>
void ForHopperHead(int head_size, F f) {
  if (head_size == 64) {
    f(std::integral_constant<int, 64>());
  } else {
    f(std::integral_constant<int, 128>());
  }
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_ATTENTION_SM90_H_
