// What a ring does beside attention to its blocks (ops/ring_attention.h). Floors, of n elements of s bytes:
// Merge 12 n, Take 2 s n, Join (4 + s) n.
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"

namespace trireme {
namespace {

constexpr int kThreads = 256;

// One thread an element of out; that of a head's first writes lse. `merged` may be `out`.
//   out, other, merged [rows, size]   lse, other_lse, merged_lse [rows]
GPU_KERNEL(kThreads)
MergeKernel(int64_t rows, int size, const float* out, const float* lse, const float* other,
            const float* other_lse, float* merged, float* merged_lse) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t row = i / size;
  if (row >= rows) return;
  const float x = lse[row], y = other_lse[row], maximum = fmaxf(x, y);
  const float of_x = expf(x - maximum), of_y = expf(y - maximum), sum = of_x + of_y;
  merged[i] = (of_x * out[i] + of_y * other[i]) / sum;
  if (i == row * size) merged_lse[row] = maximum + logf(sum);
}

// One thread an element: columns [from_first, from_first + columns) of x to those of y from to_first on.
template <typename From, typename To>
GPU_KERNEL(kThreads)
CopyColumnsKernel(int64_t rows, int columns, const From* x, int64_t x_columns, int64_t from_first, To* y,
                  int64_t y_columns, int64_t to_first) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t row = i / columns, column = i - row * columns;
  if (row >= rows) return;
  y[row * y_columns + to_first + column] = FromFloat<To>(ToFloat(x[row * x_columns + from_first + column]));
}

template <typename From, typename To>
void CopyColumns(const KernelArguments& a, const View& x, int64_t from_first, const View& y, int64_t to_first,
                 int64_t columns) {
  const int64_t rows = x.shape.rows();
  GPU_LAUNCH((CopyColumnsKernel<From, To>), GridOf(CeilDiv<int64_t>(rows * columns, kThreads)), kThreads, 0,
             a.stream, rows, static_cast<int>(columns), x.as<const From>(), x.shape.cols(), from_first,
             y.as<To>(), y.shape.cols(), to_first);
}

}  // namespace

void MergeAttentionCuda(const KernelArguments& a) {
  const int64_t rows = a.inputs[1].shape.num_elements(), elements = a.outputs[0].shape.num_elements();
  if (elements == 0) return;
  GPU_LAUNCH(MergeKernel, GridOf(CeilDiv<int64_t>(elements, kThreads)), kThreads, 0, a.stream, rows,
             static_cast<int>(elements / rows), WideOf(a.inputs[0]), WideOf(a.inputs[1]), WideOf(a.inputs[2]),
             WideOf(a.inputs[3]), WideOf(a.outputs[0]), WideOf(a.outputs[1]));
}

void TakeColumnsCuda(const KernelArguments& a) {
  const View& y = a.outputs[0];
  ForCudaFloat(y.dtype, [&](auto type) {
    using T = decltype(type);
    CopyColumns<T, T>(a, a.inputs[0], a.op.attributes.Int("first"), y, 0, y.shape.cols());
  });
}

void JoinColumnsCuda(const KernelArguments& a) {
  const View& y = a.outputs[0];
  ForCudaFloat(y.dtype, [&](auto type) {
    using T = decltype(type);
    const int64_t first = a.inputs[0].shape.cols();
    CopyColumns<float, T>(a, a.inputs[0], 0, y, 0, first);
    CopyColumns<float, T>(a, a.inputs[1], 0, y, first, a.inputs[1].shape.cols());
  });
}

}  // namespace trireme
