// Copies of whole rows: y[i] = x[row i - first], or zeros where x has no such row. x [T, D], y [N, D] of s
// bytes. Floor: 2 s N D bytes.
#include <glog/logging.h>

#include <algorithm>

#include "runtime/cuda/gather_rows.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"

namespace trireme {
namespace {

constexpr int kThreads = 256;
constexpr int kPiecesAtATime = 4;  // that a thread loads before it stores them

// Groups of `group_threads` threads copy a row each, in pieces of type P, of which a row has `pieces`.
template <typename P>
GPU_KERNEL(kThreads)
GatherRowsKernel(int group_threads, int64_t num_rows, int64_t x_rows, int64_t first, int64_t pieces,
                 const P* x, RowNumbers rows, P* y) {
  const int group = static_cast<int>(threadIdx.x) / group_threads;
  const int lane = static_cast<int>(threadIdx.x) - group * group_threads;
  const int groups = static_cast<int>(blockDim.x) / group_threads;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * groups + group;
  if (i >= num_rows) return;
  const int32_t place = rows.places[i];
  const int64_t row = place / rows.per_row - first;
  const bool exists = place >= 0 && row >= 0 && row < x_rows;
  for (int64_t at = lane; at < pieces; at += int64_t{group_threads} * kPiecesAtATime) {
    P loaded[kPiecesAtATime] = {};
#pragma unroll
    for (int j = 0; j < kPiecesAtATime; ++j) {
      const int64_t piece = at + int64_t{j} * group_threads;
      if (exists && piece < pieces) loaded[j] = x[row * pieces + piece];
    }
#pragma unroll
    for (int j = 0; j < kPiecesAtATime; ++j) {
      const int64_t piece = at + int64_t{j} * group_threads;
      if (piece < pieces) y[i * pieces + piece] = loaded[j];
    }
  }
}

template <typename P>
void Launch(const View& x, const RowNumbers& rows, int64_t first, const View& y, int64_t row_bytes,
            void* stream) {
  const int64_t pieces = row_bytes / static_cast<int64_t>(sizeof(P));
  const auto warps =
      static_cast<int>(CeilDiv<int64_t>(pieces, static_cast<int64_t>(kWarpSize) * kPiecesAtATime));
  const int group_threads = std::clamp(warps * kWarpSize, kWarpSize, kThreads);
  const int groups = kThreads / group_threads;
  GPU_LAUNCH(GatherRowsKernel<P>, GridOf(CeilDiv<int64_t>(y.shape.rows(), groups)), groups * group_threads, 0,
             stream, group_threads, y.shape.rows(), x.shape.rows(), first, pieces, x.as<const P>(), rows,
             y.as<P>());
}

}  // namespace

void GatherRows(const View& x, const RowNumbers& rows, int64_t first, const View& y, void* stream) {
  const int64_t row_bytes = x.shape.cols() * SizeOf(x.dtype);
  const auto fits = [&](int64_t bytes) {
    return row_bytes % bytes == 0 && reinterpret_cast<uintptr_t>(x.data) % bytes == 0 &&
           reinterpret_cast<uintptr_t>(y.data) % bytes == 0;
  };
  if (fits(sizeof(uint4))) {
    Launch<uint4>(x, rows, first, y, row_bytes, stream);
  } else if (fits(sizeof(uint32_t))) {
    Launch<uint32_t>(x, rows, first, y, row_bytes, stream);
  } else {
    CHECK(fits(sizeof(uint16_t))) << Name(x.dtype) << " " << x.shape.ToString();
    Launch<uint16_t>(x, rows, first, y, row_bytes, stream);
  }
}

void GatherRowsCuda(const KernelArguments& a) {
  GatherRows(a.inputs[0], {a.inputs[1].as<const int32_t>()}, 0, a.outputs[0], a.stream);
}

}  // namespace trireme
