// Kernels that work element by element: y[i] = f(x[i], ...), computed in float. y may be one of the operands.
#ifndef TRIREME_RUNTIME_CUDA_MAP_H_
#define TRIREME_RUNTIME_CUDA_MAP_H_

#include <algorithm>
#include <cstdint>

#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/parts.h"

namespace trireme {
namespace map_internal {

inline constexpr int kThreads = 256;
inline constexpr int kVectors = 2;  // of each operand, a thread

// Elements of a vector: 16 bytes of the narrowest operand.
template <typename... T>
inline constexpr int kElements = 16 / static_cast<int>(std::min({sizeof(T)...}));

template <typename To, int N, typename F, typename... From>
GPU_FN Vec<To, N> Apply(const F& f, const Vec<From, N>&... x) {
  Vec<float, N> y;
#pragma unroll
  for (int i = 0; i < N; ++i) y[i] = f(ToFloat(x[i])...);
  return FromFloat<To>(y);
}

// kAligned: every operand is aligned to 16 bytes.
template <bool kAligned, typename F, typename To, typename... From>
GPU_KERNEL(kThreads)
MapKernel(F f, int64_t n, To* y, const From*... x) {
  constexpr int N = kElements<To, From...>;
  constexpr int64_t kStride = kThreads * N;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kVectors * kThreads + threadIdx.x) * N;
  Vec<To, N> results[kVectors];
  if (kAligned && GPU_BRANCH(whole_vectors, first + (kVectors - 1) * kStride + N <= n)) {
    // All loads stand before the first store, which may be to one of the operands.
#pragma unroll
    for (int v = 0; v < kVectors; ++v) results[v] = Apply<To, N>(f, Load<N>(x + first + v * kStride)...);
#pragma unroll
    for (int v = 0; v < kVectors; ++v) Store(y + first + v * kStride, results[v]);
  } else {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = first + v * kStride;
      results[0] = Apply<To, N>(f, LoadElements<N>(x + at, n - at)...);
      StoreElements(y + at, results[0], n - at);
    }
  }
}

}  // namespace map_internal

// y[i] = f(x[i], ...) for i < n. F has a const GPU_FN operator() on floats.
template <typename F, typename To, typename... From>
void Map(const F& f, int64_t n, void* stream, To* y, const From*... x) {
  using map_internal::kThreads;
  constexpr int64_t kElements = map_internal::kElements<To, From...> * map_internal::kVectors * kThreads;
  const unsigned grid = GridOf(CeilDiv(n, kElements));
  if (IsVectorAligned(y) && (IsVectorAligned(x) && ...)) {
    GPU_LAUNCH((map_internal::MapKernel<true, F, To, From...>), grid, kThreads, 0, stream, f, n, y, x...);
  } else {
    GPU_LAUNCH((map_internal::MapKernel<false, F, To, From...>), grid, kThreads, 0, stream, f, n, y, x...);
  }
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_MAP_H_
