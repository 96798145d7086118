// What the norms share: the residual addition beside them, how their gradients' persistent grids are cut, and
// how a block's sums over its rows become a partial row of the workspace.
#ifndef TRIREME_RUNTIME_CUDA_NORM_GRID_H_
#define TRIREME_RUNTIME_CUDA_NORM_GRID_H_

#include <algorithm>
#include <cstdint>

#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/parts.h"
#include "runtime/cuda/row_groups.h"

namespace trireme {

// Vectors of a row that a thread holds.
inline constexpr int kForwardVectors = 4;
inline constexpr int kBackwardVectors = 2;
// Threads of a block that works on a row which no registers hold.
inline constexpr int kWideThreads = 512;
// Threads of a block where one row needs fewer.
inline constexpr int kForwardThreads = 128;
inline constexpr int kBackwardThreads = 256;
// Threads of a multiprocessor that a gradient's persistent grid is sized for: their registers hold the sums.
inline constexpr int kResidentThreads = 512;

// The grid of a gradient of rows of `cols` elements of a compute dtype.
struct NormGradGrid {
  NormGradGrid(int64_t rows, int64_t cols, DType dtype)
      : NormGradGrid(rows, cols, kBackwardVectors * 16 / static_cast<int>(SizeOf(dtype))) {}
  NormGradGrid(int64_t rows, int64_t cols, int elements)
      : in_registers(RowGroups::Fit(cols, elements)),
        groups(in_registers ? cols : 1, elements, kBackwardThreads),
        elements(elements) {
    const int64_t resident =
        kTargetMultiprocessors * (in_registers ? std::max(1, kResidentThreads / groups.block()) : 1);
    blocks = std::min(CeilDiv<int64_t>(rows, in_registers ? groups.groups : 1), resident);
  }
  // Of StorePartialSums of `sums` sums a column, one after the other.
  int64_t SharedBytes(int sums) const {
    return groups.groups == 1
               ? 0
               : int64_t{sums} * groups.block() * elements * static_cast<int64_t>(sizeof(float));
  }

  bool in_registers;
  RowGroups groups;
  int elements;
  int64_t blocks;
};

// The residual addition in front of a norm: sum = x + branch, of which the norm sees what is stored. `sum`
// may be x. branch nullptr: the norm alone.
template <typename T>
struct Addition {
  // Adds to the vector at element `at`, of which `count` elements exist.
  template <bool kAligned, int N>
  GPU_FN void To(Vec<T, N>* x, int64_t at, int64_t count) const {
    if (branch == nullptr) return;
    *x = SumOf(*x, LoadPart<kAligned, N>(branch + at, count));
    StorePart<kAligned>(sum + at, *x, count);
  }
  // Adds to a row that begins at element `begin` and of which a thread holds the vectors first, first +
  // stride, ... below `end`. All loads stand before the first store.
  template <bool kAligned, int N>
  GPU_FN void To(Vec<T, N> (&x)[kForwardVectors], int64_t begin, int64_t first, int64_t stride,
                 int64_t end) const {
    if (branch == nullptr) return;
    Vec<T, N> added[kForwardVectors];
#pragma unroll
    for (int v = 0; v < kForwardVectors; ++v) {
      const int64_t column = first + v * stride;
      added[v] = LoadPart<kAligned, N>(branch + begin + column, end - column);
    }
#pragma unroll
    for (int v = 0; v < kForwardVectors; ++v) {
      const int64_t column = first + v * stride;
      x[v] = SumOf(x[v], added[v]);
      StorePart<kAligned>(sum + begin + column, x[v], end - column);
    }
  }

  template <int N>
  static GPU_FN Vec<T, N> SumOf(const Vec<T, N>& x, const Vec<T, N>& y) {
    Vec<float, N> sums;
#pragma unroll
    for (int i = 0; i < N; ++i) sums[i] = ToFloat(x[i]) + ToFloat(y[i]);
    return FromFloat<T>(sums);
  }

  const T* branch;
  T* sum;
};

// The stream's gradient, which that of a norm is added to: the vector at element `at`, or zeros where there
// is none.
template <bool kAligned, int N, typename T>
GPU_FN Vec<T, N> LoadStream(const T* dsum, int64_t at, int64_t count) {
  if (dsum == nullptr) return Vec<T, N>{};
  return LoadPart<kAligned, N>(dsum + at, count);
}

// A row of dy and of x as a thread holds it; zeros from column `end` on.
template <bool kAligned, typename T, int N>
struct RowPair {
  GPU_FN void Load(const T* dy_row, const T* x_row, int64_t first, int64_t stride, int64_t end) {
#pragma unroll
    for (int v = 0; v < kBackwardVectors; ++v) {
      const int64_t column = first + v * stride;
      dy[v] = LoadPart<kAligned, N>(dy_row + column, end - column);
      x[v] = LoadPart<kAligned, N>(x_row + column, end - column);
    }
  }
  Vec<T, N> dy[kBackwardVectors];
  Vec<T, N> x[kBackwardVectors];
};

// Adds the groups' sums, in order, and writes them to out [cols]. Needs dynamic shared memory (NormGradGrid);
// all threads of the block take part.
template <bool kAligned, int kVectors, int N>
GPU_FN void StorePartialSums(const RowLane& self, const Vec<float, N> (&sums)[kVectors], int64_t cols,
                             float* out) {
  DSMEM(float, of_groups);  // [groups][kVectors][threads][N]
  constexpr int kElements = kVectors * N;
  const int lane_first = self.lane * N;
  const int stride = self.threads * N;
  if (GPU_BRANCH(several_groups, self.groups > 1)) {
    __syncthreads();  // the readers of an earlier call are done
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      Store(of_groups + self.group * self.threads * kElements + v * stride + lane_first, sums[v]);
    }
    __syncthreads();
  }
  if (self.group > 0) return;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    Vec<float, N> total = sums[v];
    for (int g = 1; g < self.groups; ++g) {
      const Vec<float, N> other = Load<N>(of_groups + g * self.threads * kElements + v * stride + lane_first);
#pragma unroll
      for (int i = 0; i < N; ++i) total[i] += other[i];
    }
    const int64_t column = lane_first + v * stride;
    StorePart<kAligned>(out + column, total, cols - column);
  }
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_NORM_GRID_H_
