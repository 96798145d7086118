// Layer normalisation and its gradient. x, y, dy, dx [T, D] of s bytes; gain, bias, dgain, dbias [D] f32;
// statistics [T, 2] f32 (mean, r). Floors: forward 2 s T D bytes, backward 3 s T D; with the residual
// addition 4 s T D both. Each has two branches: rows that fit into the registers of a block are read once;
// wider ones again for every pass, then mostly from the cache.
#include "runtime/cuda/column_sums.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/norm_grid.h"
#include "runtime/cuda/parts.h"
#include "runtime/cuda/row_groups.h"

namespace trireme {
namespace {

struct Statistics {
  float mean;
  float inverse;
};

GPU_FN float InverseDeviation(float squares, int64_t cols, float eps) {
  return 1.0f / sqrtf(squares / static_cast<float>(cols) + eps);
}

// The sum of (x - mean)^2 over those of the N elements that exist.
template <typename T, int N>
GPU_FN float CentredSquares(const Vec<T, N>& x, float mean, int64_t count) {
  float squares = 0;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float centred = i < count ? ToFloat(x[i]) - mean : 0.0f;
    squares += centred * centred;
  }
  return squares;
}

template <typename T, int N>
GPU_FN float SumOf(const Vec<T, N>& x) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < N; ++i) sum += ToFloat(x[i]);
  return sum;
}

template <typename T, int N>
GPU_FN Vec<T, N> Normalized(const Vec<T, N>& x, const Statistics& s, const Vec<float, N>& gain,
                            const Vec<float, N>& bias) {
  Vec<float, N> y;
#pragma unroll
  for (int i = 0; i < N; ++i) y[i] = (ToFloat(x[i]) - s.mean) * s.inverse * gain[i] + bias[i];
  return FromFloat<T>(y);
}

template <bool kAligned, typename T>
GPU_KERNEL(kMaxGroupThreads)
LayerNormKernel(int group_threads, int64_t rows, int64_t cols, float eps, Addition<T> add, const T* x,
                const float* gain, const float* bias, T* y, float* statistics) {
  constexpr int N = kVectorSize<T>;
  const RowLane self(group_threads);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * self.groups + self.group;
  const int64_t end = row < rows ? cols : 0;  // a group without a row holds zeros
  const int64_t first = self.lane * N;
  const int64_t stride = self.threads * N;
  Vec<T, N> held[kForwardVectors];
#pragma unroll
  for (int v = 0; v < kForwardVectors; ++v) {
    const int64_t column = first + v * stride;
    held[v] = LoadPart<kAligned, N>(x + row * cols + column, end - column);
  }
  add.template To<kAligned>(held, row * cols, first, stride, end);
  float sum = 0;
#pragma unroll
  for (int v = 0; v < kForwardVectors; ++v) sum += SumOf(held[v]);
  Statistics s;
  s.mean = GroupSum(self, sum) / static_cast<float>(cols);
  float squares = 0;
#pragma unroll
  for (int v = 0; v < kForwardVectors; ++v) {
    squares += CentredSquares(held[v], s.mean, end - first - v * stride);
  }
  s.inverse = InverseDeviation(GroupSum(self, squares), cols, eps);
  if (self.lane == 0 && row < rows) {
    statistics[2 * row] = s.mean;
    statistics[2 * row + 1] = s.inverse;
  }
#pragma unroll
  for (int v = 0; v < kForwardVectors; ++v) {
    const int64_t column = first + v * stride;
    const Vec<float, N> gains = LoadPart<kAligned, N>(gain + column, end - column);
    const Vec<float, N> biases = LoadPart<kAligned, N>(bias + column, end - column);
    StorePart<kAligned>(y + row * cols + column, Normalized(held[v], s, gains, biases), end - column);
  }
}

// A block a row.
template <bool kAligned, typename T>
GPU_KERNEL(kWideThreads)
WideLayerNormKernel(int64_t cols, float eps, Addition<T> add, const T* x, const float* gain,
                    const float* bias, T* y, float* statistics) {
  constexpr int N = kVectorSize<T>;
  const int64_t row = blockIdx.x;
  const T* x_row = x + row * cols;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * N;
  float sum = 0;
#pragma unroll 4
  for (int64_t column = first; column < cols; column += kWideThreads * N) {
    Vec<T, N> part = LoadPart<kAligned, N>(x_row + column, cols - column);
    add.template To<kAligned>(&part, row * cols + column, cols - column);
    sum += SumOf(part);
  }
  // What a thread wrote of the sum it reads again itself.
  if (add.branch != nullptr) x_row = add.sum + row * cols;
  Statistics s;
  s.mean = BlockSum(sum) / static_cast<float>(cols);
  float squares = 0;
#pragma unroll 4
  for (int64_t column = first; column < cols; column += kWideThreads * N) {
    const Vec<T, N> part = LoadPart<kAligned, N>(x_row + column, cols - column);
    squares += CentredSquares(part, s.mean, cols - column);
  }
  s.inverse = InverseDeviation(BlockSum(squares), cols, eps);
  if (threadIdx.x == 0) {
    statistics[2 * row] = s.mean;
    statistics[2 * row + 1] = s.inverse;
  }
  for (int64_t column = first; column < cols; column += kWideThreads * N) {
    const int64_t rest = cols - column;
    const Vec<T, N> part = LoadPart<kAligned, N>(x_row + column, rest);
    const Vec<float, N> gains = LoadPart<kAligned, N>(gain + column, rest);
    const Vec<float, N> biases = LoadPart<kAligned, N>(bias + column, rest);
    StorePart<kAligned>(y + row * cols + column, Normalized(part, s, gains, biases), rest);
  }
}

// What a row's gradient needs of the whole row, as means over it.
struct RowMeans {
  float scaled;  // of dy gain
  float dot;     // of dy gain n, n = (x - mean) r
};

// Adds a vector's part to the row's sums (scaled, dot) and to the columns' sums.
template <typename T, int N>
GPU_FN void AddSums(const Vec<T, N>& dy, const Vec<T, N>& x, const Vec<float, N>& gain, const Statistics& s,
                    float (&row_sums)[2], Vec<float, N>* dgain, Vec<float, N>* dbias) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float gradient = ToFloat(dy[i]);
    const float normalized = (ToFloat(x[i]) - s.mean) * s.inverse;
    const float scaled = gradient * gain[i];
    row_sums[0] += scaled;
    row_sums[1] += scaled * normalized;
    (*dgain)[i] += gradient * normalized;
    (*dbias)[i] += gradient;
  }
}

// dx = r (dy gain - mean(dy gain) - n mean(dy gain n)) + dsum.
template <typename T, int N>
GPU_FN Vec<T, N> InputGrad(const Vec<T, N>& dy, const Vec<T, N>& x, const Vec<float, N>& gain,
                           const Statistics& s, const RowMeans& means, const Vec<T, N>& dsum) {
  Vec<float, N> dx;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float normalized = (ToFloat(x[i]) - s.mean) * s.inverse;
    dx[i] = s.inverse * (ToFloat(dy[i]) * gain[i] - means.scaled - normalized * means.dot) + ToFloat(dsum[i]);
  }
  return FromFloat<T>(dx);
}

// A persistent grid, as that of RmsNormGradKernel; a partial row holds the sums of dgain, then those of
// dbias.
template <bool kAligned, typename T>
GPU_KERNEL(kMaxGroupThreads)
LayerNormGradKernel(int group_threads, int64_t rows, int64_t cols, const T* dy, const T* x, const float* gain,
                    const float* statistics, const T* dsum, T* dx, float* partials) {
  constexpr int N = kVectorSize<T>;
  const RowLane self(group_threads);
  const int64_t first = self.lane * N;
  const int64_t stride = self.threads * N;
  const int64_t step = static_cast<int64_t>(gridDim.x) * self.groups;
  Vec<float, N> dgain[kBackwardVectors] = {};
  Vec<float, N> dbias[kBackwardVectors] = {};
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
    Statistics s = {0, 0};
    if (row < rows) s = {statistics[2 * row], statistics[2 * row + 1]};
    if constexpr (kAligned) load(row + step, &next);
    float row_sums[2] = {0, 0};
#pragma unroll
    for (int v = 0; v < kBackwardVectors; ++v) {
      const int64_t column = first + v * stride;
      const Vec<float, N> gains = LoadPart<kAligned, N>(gain + column, end - column);
      AddSums(held.dy[v], held.x[v], gains, s, row_sums, &dgain[v], &dbias[v]);
    }
    GroupSum(self, row_sums);
    const RowMeans means = {row_sums[0] / static_cast<float>(cols), row_sums[1] / static_cast<float>(cols)};
#pragma unroll
    for (int v = 0; v < kBackwardVectors; ++v) {
      const int64_t column = first + v * stride;
      const Vec<float, N> gains = LoadPart<kAligned, N>(gain + column, end - column);
      const Vec<T, N> stream = LoadStream<kAligned, N>(dsum, row * cols + column, end - column);
      StorePart<kAligned>(dx + row * cols + column, InputGrad(held.dy[v], held.x[v], gains, s, means, stream),
                          end - column);
    }
  }
  StorePartialSums<kAligned>(self, dgain, cols, partials + blockIdx.x * 2 * cols);
  StorePartialSums<kAligned>(self, dbias, cols, partials + blockIdx.x * 2 * cols + cols);
}

// A block takes each gridDim.x-th row, and adds to its partial row in memory.
template <bool kAligned, typename T>
GPU_KERNEL(kWideThreads)
WideLayerNormGradKernel(int64_t rows, int64_t cols, const T* dy, const T* x, const float* gain,
                        const float* statistics, const T* dsum, T* dx, float* partials) {
  constexpr int N = kVectorSize<T>;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * N;
  float* dgain_sums = partials + blockIdx.x * 2 * cols;
  float* dbias_sums = dgain_sums + cols;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const Statistics s = {statistics[2 * row], statistics[2 * row + 1]};
    const bool adds = row != blockIdx.x;
    float row_sums[2] = {0, 0};
    for (int64_t column = first; column < cols; column += kWideThreads * N) {
      const int64_t rest = cols - column;
      const Vec<float, N> gains = LoadPart<kAligned, N>(gain + column, rest);
      const Vec<T, N> u = LoadPart<kAligned, N>(dy + row * cols + column, rest);
      const Vec<T, N> w = LoadPart<kAligned, N>(x + row * cols + column, rest);
      Vec<float, N> dgain = LoadPart<kAligned, N>(dgain_sums + column, adds ? rest : 0);
      Vec<float, N> dbias = LoadPart<kAligned, N>(dbias_sums + column, adds ? rest : 0);
      AddSums(u, w, gains, s, row_sums, &dgain, &dbias);
      StorePart<kAligned>(dgain_sums + column, dgain, rest);
      StorePart<kAligned>(dbias_sums + column, dbias, rest);
    }
    BlockSum(row_sums);
    const RowMeans means = {row_sums[0] / static_cast<float>(cols), row_sums[1] / static_cast<float>(cols)};
    for (int64_t column = first; column < cols; column += kWideThreads * N) {
      const int64_t rest = cols - column;
      const Vec<float, N> gains = LoadPart<kAligned, N>(gain + column, rest);
      const Vec<T, N> u = LoadPart<kAligned, N>(dy + row * cols + column, rest);
      const Vec<T, N> w = LoadPart<kAligned, N>(x + row * cols + column, rest);
      const Vec<T, N> stream = LoadStream<kAligned, N>(dsum, row * cols + column, rest);
      StorePart<kAligned>(dx + row * cols + column, InputGrad(u, w, gains, s, means, stream), rest);
    }
  }
}

// `first_input`, `first_output`: gain's and y's, which follow the addition's where there is one.
template <bool kAligned, typename T>
void LaunchLayerNorm(const KernelArguments& a, Addition<T> add, int first_input, int first_output) {
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
  const auto eps = static_cast<float>(a.op.attributes.Float("eps"));
  const T* x = a.inputs[0].as<T>();
  const float* gain = WideOf(a.inputs[first_input]);
  const float* bias = WideOf(a.inputs[first_input + 1]);
  T* y = a.outputs[first_output].as<T>();
  float* statistics = WideOf(a.outputs[first_output + 1]);
  constexpr int kElements = kForwardVectors * kVectorSize<T>;
  if (RowGroups::Fit(cols, kElements)) {
    const RowGroups groups(cols, kElements, kForwardThreads);
    GPU_LAUNCH((LayerNormKernel<kAligned, T>), GridOf(CeilDiv<int64_t>(rows, groups.groups)), groups.block(),
               0, a.stream, groups.threads, rows, cols, eps, add, x, gain, bias, y, statistics);
  } else {
    GPU_LAUNCH((WideLayerNormKernel<kAligned, T>), GridOf(rows), kWideThreads, 0, a.stream, cols, eps, add, x,
               gain, bias, y, statistics);
  }
}

template <bool kAligned, typename T>
void LaunchLayerNormGrad(const KernelArguments& a) {
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
  const T* dy = a.inputs[0].as<T>();
  const T* x = a.inputs[1].as<T>();
  const float* gain = WideOf(a.inputs[2]);
  const float* statistics = WideOf(a.inputs[3]);
  const T* dsum = a.inputs.size() > 4 ? a.inputs[4].as<T>() : nullptr;
  T* dx = a.outputs[0].as<T>();
  auto* partials = static_cast<float*>(a.workspace);
  const NormGradGrid grid(rows, cols, a.inputs[0].dtype);
  if (grid.in_registers) {
    GPU_LAUNCH((LayerNormGradKernel<kAligned, T>), GridOf(grid.blocks), grid.groups.block(),
               grid.SharedBytes(1), a.stream, grid.groups.threads, rows, cols, dy, x, gain, statistics, dsum,
               dx, partials);
  } else {
    GPU_LAUNCH((WideLayerNormGradKernel<kAligned, T>), GridOf(grid.blocks), kWideThreads, 0, a.stream, rows,
               cols, dy, x, gain, statistics, dsum, dx, partials);
  }
  AddPartialSums(partials, grid.blocks, 2 * cols, cols, a.accumulate, WideOf(a.outputs[1]), a.stream);
  AddPartialSums(partials + cols, grid.blocks, 2 * cols, cols, a.accumulate, WideOf(a.outputs[2]), a.stream);
}

}  // namespace

void LayerNormCuda(const KernelArguments& a) {
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const bool aligned = IsVectorAligned(a.inputs[0].as<T>(), a.inputs[0].shape.cols()) &&
                         IsVectorAligned(WideOf(a.inputs[1])) && IsVectorAligned(WideOf(a.inputs[2])) &&
                         IsVectorAligned(a.outputs[0].as<T>());
    aligned ? LaunchLayerNorm<true, T>(a, {}, 1, 0) : LaunchLayerNorm<false, T>(a, {}, 1, 0);
  });
}

void AddLayerNormCuda(const KernelArguments& a) {
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const Addition<T> add = {a.inputs[1].as<T>(), a.outputs[0].as<T>()};
    const bool aligned = IsVectorAligned(a.inputs[0].as<T>(), a.inputs[0].shape.cols()) &&
                         IsVectorAligned(add.branch) && IsVectorAligned(add.sum) &&
                         IsVectorAligned(WideOf(a.inputs[2])) && IsVectorAligned(WideOf(a.inputs[3])) &&
                         IsVectorAligned(a.outputs[1].as<T>());
    aligned ? LaunchLayerNorm<true, T>(a, add, 2, 1) : LaunchLayerNorm<false, T>(a, add, 2, 1);
  });
}

int64_t LayerNormGradCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int num_threads) {
  (void)op;
  (void)outputs;
  (void)num_threads;
  const Shape& shape = inputs[0].shape;
  return NormGradGrid(shape.rows(), shape.cols(), inputs[0].dtype).blocks * 2 * shape.cols() *
         static_cast<int64_t>(sizeof(float));
}

void LayerNormGradCuda(const KernelArguments& a) {
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const bool aligned = IsVectorAligned(a.inputs[0].as<T>(), a.inputs[0].shape.cols()) &&
                         IsVectorAligned(a.inputs[1].as<T>()) && IsVectorAligned(WideOf(a.inputs[2])) &&
                         IsVectorAligned(a.outputs[0].as<T>()) &&
                         (a.inputs.size() <= 4 || IsVectorAligned(a.inputs[4].as<T>()));
    aligned ? LaunchLayerNormGrad<true, T>(a) : LaunchLayerNormGrad<false, T>(a);
  });
}

}  // namespace trireme
