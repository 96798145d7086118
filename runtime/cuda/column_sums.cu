// Sums over rows: out[n] (+)= sum over t of x[t, n]. x [T, N] of s bytes, out [N] f32. Floor: s T N bytes. A
// block sums kRows rows of a tile of columns into a partial row in the workspace (4 / (s kRows) of the floor,
// written and read); a second kernel adds the partial rows.
#include "runtime/cuda/column_sums.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/parts.h"

namespace trireme {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarpSize;
constexpr int kRows = 128;       // of a partial sum
constexpr int kRowsAtATime = 4;  // that a thread loads before it adds them

// Columns of a block's tile: a vector a lane.
template <typename T>
constexpr int kTile = kVectorSize<T>* kWarpSize;

// A warp sums every kWarps-th row of the block's, then the warps' sums are added in order.
template <bool kAligned, typename T>
GPU_KERNEL(kThreads)
ColumnSumKernel(int64_t tiles, int64_t rows, int64_t cols, const T* x, float* partials) {
  constexpr int N = kVectorSize<T>;
  SMEM(float, of_warps, [kWarps][kTile<T>]);
  const int64_t range = blockIdx.x / tiles;
  const int64_t tile = (blockIdx.x - range * tiles) * kTile<T>;
  const int64_t column = tile + LaneId() * N;
  const int64_t end = Min<int64_t>(rows, (range + 1) * kRows);
  Vec<float, N> sums = {};
  for (int64_t row = range * kRows + WarpId(); row < end; row += kWarps * kRowsAtATime) {
    Vec<T, N> loaded[kRowsAtATime];
#pragma unroll
    for (int i = 0; i < kRowsAtATime; ++i) {
      const int64_t at = row + i * kWarps;
      loaded[i] = LoadPart<kAligned, N>(x + at * cols + column, at < end ? cols - column : 0);
    }
#pragma unroll
    for (int i = 0; i < kRowsAtATime; ++i) {
#pragma unroll
      for (int j = 0; j < N; ++j) sums[j] += ToFloat(loaded[i][j]);
    }
  }
  Store(&of_warps[WarpId()][LaneId() * N], sums);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kTile<T> && tile + i < cols; i += kThreads) {
    float sum = of_warps[0][i];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) sum += of_warps[w][i];
    partials[range * cols + tile + i] = sum;
  }
}

// A lane a column; a warp adds every kWarps-th partial row, then the warps' sums are added in order.
GPU_KERNEL(kThreads)
AddPartialSumsKernel(int64_t count, int64_t stride, int64_t cols, bool accumulate, const float* partials,
                     float* out) {
  SMEM(float, of_warps, [kWarps][kWarpSize]);
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarpSize + LaneId();
  float sum = 0;
  if (column < cols) {
#pragma unroll 4
    for (int64_t i = WarpId(); i < count; i += kWarps) sum += partials[i * stride + column];
  }
  of_warps[WarpId()][LaneId()] = sum;
  __syncthreads();
  if (WarpId() == 0 && column < cols) {
    sum = of_warps[0][LaneId()];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) sum += of_warps[w][LaneId()];
    out[column] = accumulate ? out[column] + sum : sum;
  }
}

}  // namespace

void AddPartialSums(const float* partials, int64_t count, int64_t stride, int64_t cols, bool accumulate,
                    float* out, void* stream) {
  GPU_LAUNCH(AddPartialSumsKernel, GridOf(CeilDiv<int64_t>(cols, kWarpSize)), kThreads, 0, stream, count,
             stride, cols, accumulate, partials, out);
}

int64_t ColumnSumCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                    absl::Span<const View> outputs, int num_threads) {
  (void)op;
  (void)outputs;
  (void)num_threads;
  const Shape& shape = inputs[0].shape;
  return CeilDiv<int64_t>(shape.rows(), kRows) * shape.cols() * static_cast<int64_t>(sizeof(float));
}

void ColumnSumCuda(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  const int64_t rows = shape.rows();
  const int64_t cols = shape.cols();
  const int64_t ranges = CeilDiv<int64_t>(rows, kRows);
  auto* partials = static_cast<float*>(a.workspace);
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const T* x = a.inputs[0].as<T>();
    const int64_t tiles = CeilDiv<int64_t>(cols, kTile<T>);
    const auto kernel = IsVectorAligned(x, cols) ? ColumnSumKernel<true, T> : ColumnSumKernel<false, T>;
    GPU_LAUNCH(kernel, GridOf(ranges * tiles), kThreads, 0, a.stream, tiles, rows, cols, x, partials);
  });
  AddPartialSums(partials, ranges, cols, cols, a.accumulate, WideOf(a.outputs[0]), a.stream);
}

}  // namespace trireme
