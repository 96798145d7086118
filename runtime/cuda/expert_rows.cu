// Rows to their experts and back (ops/routing.h). Floors, T tokens of D columns of s bytes, k choices:
// GroupByExpert is a radix sort of T k numbers (sort_tokens.cu) and 12 T k bytes; PermuteRows s (k + 1) T D,
// as its gradient and CombineRows; CombineRowsGrad s (2 k + 1) T D.
#include <glog/logging.h>

#include "runtime/cuda/gather_rows.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/parts.h"
#include "runtime/cuda/sort_tokens.h"

namespace trireme {
namespace {

constexpr int kThreads = 128;

// A thread a place, and one behind the last. Expert e's rows begin where the first of an expert >= e lies;
// dropped choices are sorted as those of expert `num_experts`.
GPU_KERNEL(kThreads)
PlacesKernel(int64_t choices, int64_t num_experts, SortedTokens sorted, int32_t* order, int32_t* place,
             int32_t* offsets) {
  const int64_t i = GridThread();
  if (i > choices) return;
  const int64_t before = i == 0 ? -1 : int64_t{sorted.rows[i - 1]};
  const int64_t here = i == choices ? num_experts : int64_t{sorted.rows[i]};
  for (int64_t e = before + 1; e <= here; ++e) offsets[e] = static_cast<int32_t>(i);
  if (i == choices) return;
  const uint32_t choice = sorted.tokens[i];
  const bool has_row = here < num_experts;
  order[i] = has_row ? static_cast<int32_t>(choice) : -1;
  place[choice] = has_row ? static_cast<int32_t>(i) : -1;
}

// y[t] = sum over the j with a row of [weights[t, j]] rows[place[t k + j]]. A row is cut into tiles, a block
// each.
template <bool kWeighted, bool kAligned, typename T>
GPU_KERNEL(kThreads)
AddRowsKernel(int64_t tiles, int64_t cols, int k, const T* rows, const float* weights, const int32_t* place,
              T* y) {
  constexpr int N = kVectorSize<T>;
  const int64_t t = blockIdx.x / tiles;
  const int64_t column = ((blockIdx.x - t * tiles) * kThreads + threadIdx.x) * N;
  const int64_t rest = cols - column;
  Vec<float, N> sum = {};
#pragma unroll 4
  for (int j = 0; j < k; ++j) {
    const int64_t choice = t * k + j;
    const int64_t at = place[choice];
    const Vec<T, N> row = LoadPart<kAligned, N>(rows + Max<int64_t>(at, 0) * cols + column, rest);
    const float weight = kWeighted ? weights[choice] : 1.0f;
    if (at < 0) continue;
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] += weight * ToFloat(row[i]);
  }
  StorePart<kAligned>(y + t * cols + column, FromFloat<T>(sum), rest);
}

template <bool kWeighted>
void LaunchAddRows(const View& rows, const float* weights, const View& place, const View& y, void* stream) {
  const int64_t tokens = y.shape[0], cols = y.shape[1];
  if (tokens == 0) return;
  const auto k = static_cast<int>(rows.shape[0] / tokens);
  ForCudaFloat(y.dtype, [&](auto type) {
    using T = decltype(type);
    const int64_t tiles = CeilDiv<int64_t>(cols, kThreads * kVectorSize<T>);
    const bool aligned = IsVectorAligned(rows.as<T>(), cols) && IsVectorAligned(y.as<T>());
    const auto kernel = aligned ? AddRowsKernel<kWeighted, true, T> : AddRowsKernel<kWeighted, false, T>;
    GPU_LAUNCH(kernel, GridOf(tokens * tiles), kThreads, 0, stream, tiles, cols, k, rows.as<const T>(),
               weights, place.as<const int32_t>(), y.as<T>());
  });
}

// drows[p] = weight dout[t], dweight = <dout[t], rows[p]> of the token's choices p: a block a token, which
// finds dout in its cache from the second choice on.
template <bool kAligned, typename T>
GPU_KERNEL(kThreads)
CombineRowsGradKernel(int64_t cols, int k, const T* dout, const T* rows, const float* weights,
                      const int32_t* place, T* drows, float* dweights) {
  constexpr int N = kVectorSize<T>;
  const int64_t t = blockIdx.x;
  for (int j = 0; j < k; ++j) {
    const int64_t choice = t * k + j;
    const int64_t row = place[choice] * cols;
    const float weight = weights[choice];
    if (row < 0) {
      if (threadIdx.x == 0) dweights[choice] = 0;
      continue;
    }
    float product = 0;
    for (int64_t column = static_cast<int64_t>(threadIdx.x) * N; column < cols; column += kThreads * N) {
      const int64_t rest = cols - column;
      const Vec<float, N> gradient = ToFloat(LoadPart<kAligned, N>(dout + t * cols + column, rest));
      const Vec<T, N> x = LoadPart<kAligned, N>(rows + row + column, rest);
      Vec<float, N> result;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        product += gradient[i] * ToFloat(x[i]);
        result[i] = weight * gradient[i];
      }
      StorePart<kAligned>(drows + row + column, FromFloat<T>(result), rest);
    }
    product = BlockSum(product);
    if (threadIdx.x == 0) dweights[choice] = product;
  }
}

}  // namespace

int64_t GroupByExpertCudaWorkspaceBytes(const Op&, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int) {
  return SortTokensWorkspaceBytes(inputs[0].shape.num_elements(), outputs[2].shape[0] - 1);
}

void GroupByExpertCuda(const KernelArguments& a) {
  const int64_t choices = a.inputs[0].shape.num_elements(), num_experts = a.outputs[2].shape[0] - 1;
  const SortedTokens sorted =
      SortTokens(a.inputs[0].as<const int32_t>(), 0, choices, num_experts, a.workspace, a.stream);
  GPU_LAUNCH(PlacesKernel, GridOf(CeilDiv<int64_t>(choices + 1, kThreads)), kThreads, 0, a.stream, choices,
             num_experts, sorted, a.outputs[0].as<int32_t>(), a.outputs[1].as<int32_t>(),
             a.outputs[2].as<int32_t>());
}

void PermuteRowsCuda(const KernelArguments& a) {
  const int64_t tokens = a.inputs[0].shape[0];
  if (tokens == 0) return;
  const auto k = static_cast<int32_t>(a.outputs[0].shape[0] / tokens);
  GatherRows(a.inputs[0], {a.inputs[1].as<const int32_t>(), k}, 0, a.outputs[0], a.stream);
}

void PermuteRowsGradCuda(const KernelArguments& a) {
  LaunchAddRows<false>(a.inputs[0], nullptr, a.inputs[1], a.outputs[0], a.stream);
}

void CombineRowsCuda(const KernelArguments& a) {
  LaunchAddRows<true>(a.inputs[0], WideOf(a.inputs[1]), a.inputs[2], a.outputs[0], a.stream);
}

void CombineRowsGradCuda(const KernelArguments& a) {
  const int64_t tokens = a.inputs[0].shape[0], cols = a.inputs[0].shape[1];
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const T* dout = a.inputs[0].as<T>();
    const T* rows = a.inputs[1].as<T>();
    T* drows = a.outputs[0].as<T>();
    const bool aligned = IsVectorAligned(dout, cols) && IsVectorAligned(rows) && IsVectorAligned(drows);
    const auto kernel = aligned ? CombineRowsGradKernel<true, T> : CombineRowsGradKernel<false, T>;
    GPU_LAUNCH(kernel, GridOf(tokens), kThreads, 0, a.stream, cols, static_cast<int>(a.inputs[2].shape[1]),
               dout, rows, WideOf(a.inputs[2]), a.inputs[3].as<const int32_t>(), drows, WideOf(a.outputs[1]));
  });
}

}  // namespace trireme
