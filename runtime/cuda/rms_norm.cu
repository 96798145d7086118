// Root-mean-square normalisation and its gradient. x, y, dy, dx [T, D] of s bytes; gain, dgain [D] f32; r [T]
// f32. Floors: forward 2 s T D bytes, backward 3 s T D; with the residual addition 4 s T D both. Each has two
// branches: rows that fit into the registers of a block are read once; wider ones twice, the second time
// mostly from the cache.
#include "runtime/cuda/column_sums.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/norm_grid.h"
#include "runtime/cuda/parts.h"
#include "runtime/cuda/row_groups.h"

namespace trireme {
namespace {

GPU_FN float InverseRoot(float squares, int64_t cols, float eps) {
  return 1.0f / sqrtf(squares / static_cast<float>(cols) + eps);
}

template <typename T, int N>
GPU_FN Vec<T, N> Normalized(const Vec<T, N>& x, float inverse, const Vec<float, N>& gain) {
  Vec<float, N> y;
#pragma unroll
  for (int i = 0; i < N; ++i) y[i] = ToFloat(x[i]) * inverse * gain[i];
  return FromFloat<T>(y);
}

template <bool kAligned, typename T>
GPU_KERNEL(kMaxGroupThreads)
RmsNormKernel(int group_threads, int64_t rows, int64_t cols, float eps, Addition<T> add, const T* x,
              const float* gain, T* y, float* r) {
  constexpr int N = kVectorSize<T>;
  const RowLane self(group_threads);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * self.groups + self.group;
  const int64_t end = row < rows ? cols : 0;  // a group without a row holds zeros
  const int64_t first = self.lane * N;
  const int64_t stride = self.threads * N;
  Vec<T, N> held[kForwardVectors];
  float squares = 0;
#pragma unroll
  for (int v = 0; v < kForwardVectors; ++v) {
    const int64_t column = first + v * stride;
    held[v] = LoadPart<kAligned, N>(x + row * cols + column, end - column);
  }
  add.template To<kAligned>(held, row * cols, first, stride, end);
#pragma unroll
  for (int v = 0; v < kForwardVectors; ++v) {
#pragma unroll
    for (int i = 0; i < N; ++i) squares += ToFloat(held[v][i]) * ToFloat(held[v][i]);
  }
  const float inverse = InverseRoot(GroupSum(self, squares), cols, eps);
  if (self.lane == 0 && row < rows) r[row] = inverse;
#pragma unroll
  for (int v = 0; v < kForwardVectors; ++v) {
    const int64_t column = first + v * stride;
    const Vec<float, N> gains = LoadPart<kAligned, N>(gain + column, end - column);
    StorePart<kAligned>(y + row * cols + column, Normalized(held[v], inverse, gains), end - column);
  }
}

// A block a row.
template <bool kAligned, typename T>
GPU_KERNEL(kWideThreads)
WideRmsNormKernel(int64_t cols, float eps, Addition<T> add, const T* x, const float* gain, T* y, float* r) {
  constexpr int N = kVectorSize<T>;
  const int64_t row = blockIdx.x;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * N;
  float squares = 0;
#pragma unroll 4
  for (int64_t column = first; column < cols; column += kWideThreads * N) {
    Vec<T, N> part = LoadPart<kAligned, N>(x + row * cols + column, cols - column);
    add.template To<kAligned>(&part, row * cols + column, cols - column);
#pragma unroll
    for (int i = 0; i < N; ++i) squares += ToFloat(part[i]) * ToFloat(part[i]);
  }
  const float inverse = InverseRoot(BlockSum(squares), cols, eps);
  if (threadIdx.x == 0) r[row] = inverse;
  // What a thread wrote of the sum it reads again itself.
  if (add.branch != nullptr) x = add.sum;
  for (int64_t column = first; column < cols; column += kWideThreads * N) {
    const Vec<T, N> part = LoadPart<kAligned, N>(x + row * cols + column, cols - column);
    const Vec<float, N> gains = LoadPart<kAligned, N>(gain + column, cols - column);
    StorePart<kAligned>(y + row * cols + column, Normalized(part, inverse, gains), cols - column);
  }
}

// dx = r (dy gain - x r^2 mean(dy gain x)) + dsum.
template <typename T, int N>
GPU_FN Vec<T, N> InputGrad(const Vec<T, N>& dy, const Vec<T, N>& x, const Vec<float, N>& gain, float inverse,
                           float mean, const Vec<T, N>& dsum) {
  Vec<float, N> dx;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    dx[i] = inverse * (ToFloat(dy[i]) * gain[i] - ToFloat(x[i]) * mean) + ToFloat(dsum[i]);
  }
  return FromFloat<T>(dx);
}

// A persistent grid: every group takes each gridDim.x * groups-th row, loading the next while it sums this
// one, and keeps its part of dgain in registers. The groups' sums go through shared memory into the block's
// partial row.
template <bool kAligned, typename T>
GPU_KERNEL(kMaxGroupThreads)
RmsNormGradKernel(int group_threads, int64_t rows, int64_t cols, const T* dy, const T* x, const float* gain,
                  const float* r, const T* dsum, T* dx, float* partials) {
  constexpr int N = kVectorSize<T>;
  const RowLane self(group_threads);
  const int64_t first = self.lane * N;
  const int64_t stride = self.threads * N;
  const int64_t step = static_cast<int64_t>(gridDim.x) * self.groups;
  Vec<float, N> gains[kBackwardVectors];
  Vec<float, N> sums[kBackwardVectors] = {};
#pragma unroll
  for (int v = 0; v < kBackwardVectors; ++v) {
    const int64_t column = first + v * stride;
    gains[v] = LoadPart<kAligned, N>(gain + column, cols - column);
  }
  int64_t row = static_cast<int64_t>(blockIdx.x) * self.groups + self.group;
  const auto load = [&](int64_t at, RowPair<kAligned, T, N>* pair) {
    pair->Load(dy + at * cols, x + at * cols, first, stride, at < rows ? cols : 0);
  };
  // Unaligned rows are not loaded ahead: their registers are too few.
  RowPair<kAligned, T, N> next;
  if constexpr (kAligned) load(row, &next);
  // As many times for every group of the block: the sums are formed by all.
  for (int64_t block_row = row - self.group; block_row < rows; block_row += step, row += step) {
    if constexpr (!kAligned) load(row, &next);
    const RowPair<kAligned, T, N> held = next;
    const int64_t end = row < rows ? cols : 0;
    const float inverse = row < rows ? r[row] : 0.0f;
    if constexpr (kAligned) load(row + step, &next);
    float dot = 0;
#pragma unroll
    for (int v = 0; v < kBackwardVectors; ++v) {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float product = ToFloat(held.dy[v][i]) * ToFloat(held.x[v][i]);
        dot += product * gains[v][i];
        sums[v][i] += product * inverse;
      }
    }
    const float mean = GroupSum(self, dot) * inverse * inverse / static_cast<float>(cols);
#pragma unroll
    for (int v = 0; v < kBackwardVectors; ++v) {
      const int64_t column = first + v * stride;
      const Vec<T, N> stream = LoadStream<kAligned, N>(dsum, row * cols + column, end - column);
      StorePart<kAligned>(dx + row * cols + column,
                          InputGrad(held.dy[v], held.x[v], gains[v], inverse, mean, stream), end - column);
    }
  }
  StorePartialSums<kAligned>(self, sums, cols, partials + blockIdx.x * cols);
}

// A block takes each gridDim.x-th row, and adds to its partial row in memory.
template <bool kAligned, typename T>
GPU_KERNEL(kWideThreads)
WideRmsNormGradKernel(int64_t rows, int64_t cols, const T* dy, const T* x, const float* gain, const float* r,
                      const T* dsum, T* dx, float* partials) {
  constexpr int N = kVectorSize<T>;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * N;
  float* sums = partials + blockIdx.x * cols;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const float inverse = r[row];
    const bool adds = row != blockIdx.x;
    float dot = 0;
    for (int64_t column = first; column < cols; column += kWideThreads * N) {
      const int64_t rest = cols - column;
      const Vec<float, N> gains = LoadPart<kAligned, N>(gain + column, rest);
      const Vec<T, N> u = LoadPart<kAligned, N>(dy + row * cols + column, rest);
      const Vec<T, N> w = LoadPart<kAligned, N>(x + row * cols + column, rest);
      Vec<float, N> sum = LoadPart<kAligned, N>(sums + column, adds ? rest : 0);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float product = ToFloat(u[i]) * ToFloat(w[i]);
        dot += product * gains[i];
        sum[i] += product * inverse;
      }
      StorePart<kAligned>(sums + column, sum, rest);
    }
    const float mean = BlockSum(dot) * inverse * inverse / static_cast<float>(cols);
    for (int64_t column = first; column < cols; column += kWideThreads * N) {
      const int64_t rest = cols - column;
      const Vec<float, N> gains = LoadPart<kAligned, N>(gain + column, rest);
      const Vec<T, N> u = LoadPart<kAligned, N>(dy + row * cols + column, rest);
      const Vec<T, N> w = LoadPart<kAligned, N>(x + row * cols + column, rest);
      const Vec<T, N> stream = LoadStream<kAligned, N>(dsum, row * cols + column, rest);
      StorePart<kAligned>(dx + row * cols + column, InputGrad(u, w, gains, inverse, mean, stream), rest);
    }
  }
}

// `first_input`, `first_output`: gain's and y's, which follow the addition's where there is one.
template <bool kAligned, typename T>
void LaunchRmsNorm(const KernelArguments& a, Addition<T> add, int first_input, int first_output) {
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
  const auto eps = static_cast<float>(a.op.attributes.Float("eps"));
  const T* x = a.inputs[0].as<T>();
  const float* gain = WideOf(a.inputs[first_input]);
  T* y = a.outputs[first_output].as<T>();
  float* r = WideOf(a.outputs[first_output + 1]);
  constexpr int kElements = kForwardVectors * kVectorSize<T>;
  if (RowGroups::Fit(cols, kElements)) {
    const RowGroups groups(cols, kElements, kForwardThreads);
    GPU_LAUNCH((RmsNormKernel<kAligned, T>), GridOf(CeilDiv<int64_t>(rows, groups.groups)), groups.block(), 0,
               a.stream, groups.threads, rows, cols, eps, add, x, gain, y, r);
  } else {
    GPU_LAUNCH((WideRmsNormKernel<kAligned, T>), GridOf(rows), kWideThreads, 0, a.stream, cols, eps, add, x,
               gain, y, r);
  }
}

template <bool kAligned, typename T>
void LaunchRmsNormGrad(const KernelArguments& a) {
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
  const T* dy = a.inputs[0].as<T>();
  const T* x = a.inputs[1].as<T>();
  const float* gain = WideOf(a.inputs[2]);
  const float* r = WideOf(a.inputs[3]);
  const T* dsum = a.inputs.size() > 4 ? a.inputs[4].as<T>() : nullptr;
  T* dx = a.outputs[0].as<T>();
  auto* partials = static_cast<float*>(a.workspace);
  const NormGradGrid grid(rows, cols, a.inputs[0].dtype);
  if (grid.in_registers) {
    GPU_LAUNCH((RmsNormGradKernel<kAligned, T>), GridOf(grid.blocks), grid.groups.block(),
               grid.SharedBytes(1), a.stream, grid.groups.threads, rows, cols, dy, x, gain, r, dsum, dx,
               partials);
  } else {
    GPU_LAUNCH((WideRmsNormGradKernel<kAligned, T>), GridOf(grid.blocks), kWideThreads, 0, a.stream, rows,
               cols, dy, x, gain, r, dsum, dx, partials);
  }
  AddPartialSums(partials, grid.blocks, cols, cols, a.accumulate, WideOf(a.outputs[1]), a.stream);
}

}  // namespace

void RmsNormCuda(const KernelArguments& a) {
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const bool aligned = IsVectorAligned(a.inputs[0].as<T>(), a.inputs[0].shape.cols()) &&
                         IsVectorAligned(WideOf(a.inputs[1])) && IsVectorAligned(a.outputs[0].as<T>());
    aligned ? LaunchRmsNorm<true, T>(a, {}, 1, 0) : LaunchRmsNorm<false, T>(a, {}, 1, 0);
  });
}

void AddRmsNormCuda(const KernelArguments& a) {
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const Addition<T> add = {a.inputs[1].as<T>(), a.outputs[0].as<T>()};
    const bool aligned = IsVectorAligned(a.inputs[0].as<T>(), a.inputs[0].shape.cols()) &&
                         IsVectorAligned(add.branch) && IsVectorAligned(add.sum) &&
                         IsVectorAligned(WideOf(a.inputs[2])) && IsVectorAligned(a.outputs[1].as<T>());
    aligned ? LaunchRmsNorm<true, T>(a, add, 2, 1) : LaunchRmsNorm<false, T>(a, add, 2, 1);
  });
}

int64_t RmsNormGradCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                      absl::Span<const View> outputs, int num_threads) {
  (void)op;
  (void)outputs;
  (void)num_threads;
  const Shape& shape = inputs[0].shape;
  return NormGradGrid(shape.rows(), shape.cols(), inputs[0].dtype).blocks * shape.cols() *
         static_cast<int64_t>(sizeof(float));
}

void RmsNormGradCuda(const KernelArguments& a) {
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const bool aligned = IsVectorAligned(a.inputs[0].as<T>(), a.inputs[0].shape.cols()) &&
                         IsVectorAligned(a.inputs[1].as<T>()) && IsVectorAligned(WideOf(a.inputs[2])) &&
                         IsVectorAligned(a.outputs[0].as<T>()) &&
                         (a.inputs.size() <= 4 || IsVectorAligned(a.inputs[4].as<T>()));
    aligned ? LaunchRmsNormGrad<true, T>(a) : LaunchRmsNormGrad<false, T>(a);
  });
}

}  // namespace trireme
