// Vectors at the end of a row or range, of which only some elements exist, and operands that are not aligned
// for vectors at all.
#ifndef TRIREME_RUNTIME_CUDA_PARTS_H_
#define TRIREME_RUNTIME_CUDA_PARTS_H_

#include <cstdint>

#include "runtime/cuda/gpu.h"

namespace trireme {

// Loads element i where i < count; the others are 0.
template <int N, typename T>
GPU_FN Vec<T, N> LoadElements(const T* source, int64_t count) {
  Vec<T, N> vector;
#pragma unroll
  for (int i = 0; i < N; ++i) vector[i] = i < count ? source[i] : FromFloat<T>(0);
  return vector;
}
template <typename T, int N>
GPU_FN void StoreElements(T* target, const Vec<T, N>& vector, int64_t count) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (i < count) target[i] = vector[i];
  }
}

// The vector at `source`, of which `count` elements exist (all of them where count >= N, none where it is
// negative); the others are 0. kAligned: addresses are aligned for vectors and count is never in (0, N).
template <bool kAligned, int N, typename T>
GPU_FN Vec<T, N> LoadPart(const T* source, int64_t count) {
  if constexpr (kAligned) {
    if (count > 0) return Load<N>(source);
    return Vec<T, N>{};
  } else {
    return LoadElements<N>(source, count);
  }
}
template <bool kAligned, typename T, int N>
GPU_FN void StorePart(T* target, const Vec<T, N>& vector, int64_t count) {
  if constexpr (kAligned) {
    if (count > 0) Store(target, vector);
  } else {
    StoreElements(target, vector, count);
  }
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_PARTS_H_
