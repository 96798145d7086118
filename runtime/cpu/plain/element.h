// What the plain kernels share: an element is read as a double, computed with in double, and rounded where it
// is stored.
#ifndef TRIREME_RUNTIME_CPU_PLAIN_ELEMENT_H_
#define TRIREME_RUNTIME_CPU_PLAIN_ELEMENT_H_

#include <glog/logging.h>

#include <cstdint>
#include <type_traits>

#include "runtime/dtype.h"

namespace trireme {

// The type of statistics, vectors and parameter gradients beside compute type T.
template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <typename T>
inline double Get(const T* data, int64_t i) {
  if constexpr (std::is_same_v<T, Bf16>) {
    return static_cast<float>(data[i]);
  } else {
    return static_cast<double>(data[i]);
  }
}

template <typename T>
inline void Put(T* data, int64_t i, double value) {
  if constexpr (std::is_same_v<T, Bf16>) {
    data[i] = Bf16(static_cast<float>(value));
  } else {
    data[i] = static_cast<T>(value);
  }
}

// The sum of x[i] y[i] over i < n.
template <typename T>
double Dot(const T* x, const T* y, int64_t n) {
  constexpr int kSums = 8;  // independent, so that additions need not wait for each other
  double sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (int j = 0; j < kSums; ++j) sums[j] += Get(x, i + j) * Get(y, i + j);
  }
  for (; i < n; ++i) sums[0] += Get(x, i) * Get(y, i);
  double sum = 0;
  for (double s : sums) sum += s;
  return sum;
}

// Adds to or overwrites an element of a parameter gradient.
template <typename T>
inline void Deliver(T* data, int64_t i, double value, bool accumulate) {
  Put(data, i, accumulate ? Get(data, i) + value : value);
}

// sum[i] = x[i] + y[i] for i < n.
template <typename T>
void AddElements(const T* x, const T* y, T* sum, int64_t n, int num_threads) {
#pragma omp parallel for num_threads(num_threads)
  for (int64_t i = 0; i < n; ++i) Put(sum, i, Get(x, i) + Get(y, i));
}

// Calls f with a value of the C++ type of a floating dtype.
template <typename F>
void ForFloat(DType dtype, F f) {
  switch (dtype) {
    case DType::kF32:
      return f(float{});
    case DType::kBF16:
      return f(Bf16{});
    case DType::kF64:
      return f(double{});
    default:
      LOG(FATAL) << "a kernel was given " << Name(dtype) << " where it computes in floating point";
  }
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_PLAIN_ELEMENT_H_
