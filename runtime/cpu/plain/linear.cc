#include <algorithm>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

// Columns that are summed at a time: their sums stay in registers and the first-level cache.
constexpr int64_t kColumns = 64;

template <typename T>
void LinearOf(const KernelArguments& a) {
  const T* x = a.inputs[0].as<T>();
  const T* w = a.inputs[1].as<T>();
  const Wide<T>* bias = a.inputs[2].as<Wide<T>>();
  T* y = a.outputs[0].as<T>();
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t inner = a.inputs[0].shape.cols();
  const int64_t cols = a.inputs[1].shape.rows();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t n = 0; n < cols; ++n) {
      Put(y, t * cols + n, Dot(x + t * inner, w + n * inner, inner) + (bias == nullptr ? 0 : Get(bias, n)));
    }
  }
}

template <typename T>
void LinearInputGradOf(const KernelArguments& a) {
  const T* dy = a.inputs[0].as<T>();
  const T* w = a.inputs[1].as<T>();
  T* dx = a.outputs[0].as<T>();
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t inner = a.inputs[0].shape.cols();
  const int64_t cols = a.inputs[1].shape.cols();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t begin = 0; begin < cols; begin += kColumns) {
      const int64_t count = std::min(kColumns, cols - begin);
      double sums[kColumns] = {};
      for (int64_t n = 0; n < inner; ++n) {
        const double scale = Get(dy, t * inner + n);
        for (int64_t k = 0; k < count; ++k) sums[k] += scale * Get(w, n * cols + begin + k);
      }
      for (int64_t k = 0; k < count; ++k) Put(dx, t * cols + begin + k, sums[k]);
    }
  }
}

template <typename T>
void LinearWeightGradOf(const KernelArguments& a) {
  const T* dy = a.inputs[0].as<T>();
  const T* x = a.inputs[1].as<T>();
  Wide<T>* dw = a.outputs[0].as<Wide<T>>();
  const int64_t inner = a.inputs[0].shape.rows();
  const int64_t rows = a.inputs[0].shape.cols();
  const int64_t cols = a.inputs[1].shape.cols();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t begin = 0; begin < cols; begin += kColumns) {
      const int64_t count = std::min(kColumns, cols - begin);
      double sums[kColumns] = {};
      for (int64_t t = 0; t < inner; ++t) {
        const double scale = Get(dy, t * rows + n);
        for (int64_t k = 0; k < count; ++k) sums[k] += scale * Get(x, t * cols + begin + k);
      }
      for (int64_t k = 0; k < count; ++k) Deliver(dw, n * cols + begin + k, sums[k], a.accumulate);
    }
  }
}

template <typename T>
void ColumnSumOf(const KernelArguments& a) {
  const T* dy = a.inputs[0].as<T>();
  Wide<T>* sum = a.outputs[0].as<Wide<T>>();
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t begin = 0; begin < cols; begin += kColumns) {
    const int64_t count = std::min(kColumns, cols - begin);
    double sums[kColumns] = {};
    for (int64_t t = 0; t < rows; ++t) {
      for (int64_t n = 0; n < count; ++n) sums[n] += Get(dy, t * cols + begin + n);
    }
    for (int64_t n = 0; n < count; ++n) Deliver(sum, begin + n, sums[n], a.accumulate);
  }
}

}  // namespace

void LinearPlain(const KernelArguments& a) {
  ForFloat(a.inputs[0].dtype, [&](auto type) { LinearOf<decltype(type)>(a); });
}

void LinearInputGradPlain(const KernelArguments& a) {
  ForFloat(a.inputs[0].dtype, [&](auto type) { LinearInputGradOf<decltype(type)>(a); });
}

void LinearWeightGradPlain(const KernelArguments& a) {
  ForFloat(a.inputs[0].dtype, [&](auto type) { LinearWeightGradOf<decltype(type)>(a); });
}

void ColumnSumPlain(const KernelArguments& a) {
  ForFloat(a.inputs[0].dtype, [&](auto type) { ColumnSumOf<decltype(type)>(a); });
}

}  // namespace trireme
