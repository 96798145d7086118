#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

template <typename T>
void MergeOf(const KernelArguments& a) {
  const T* lse = a.inputs[1].as<T>();
  const T* other_lse = a.inputs[3].as<T>();
  const int64_t rows = a.inputs[1].shape.num_elements();  // of heads
  const int64_t size = a.outputs[0].shape.num_elements() / std::max<int64_t>(1, rows);
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t row = 0; row < rows; ++row) {
    const double x = lse[row], y = other_lse[row], maximum = std::max(x, y);
    const double sum = std::exp(x - maximum) + std::exp(y - maximum);
    const double share = std::exp(x - maximum) / sum, other_share = std::exp(y - maximum) / sum;
    const T* out = a.inputs[0].as<T>() + row * size;
    const T* other = a.inputs[2].as<T>() + row * size;
    T* merged = a.outputs[0].as<T>() + row * size;
    for (int64_t i = 0; i < size; ++i) Put(merged, i, share * Get(out, i) + other_share * Get(other, i));
    Put(a.outputs[1].as<T>(), row, maximum + std::log(sum));
  }
}

// Columns of x, in the dtype of y, from `first` of y on.
template <typename From, typename To>
void CopyColumns(const KernelArguments& a, const View& x, const View& y, int64_t first) {
  const int64_t columns = x.shape.cols();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < x.shape.rows(); ++t) {
    const From* from = x.as<From>() + t * columns;
    To* to = y.as<To>() + t * y.shape.cols() + first;
    for (int64_t i = 0; i < columns; ++i) Put(to, i, Get(from, i));
  }
}

}  // namespace

void MergeAttentionPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) {
    if constexpr (std::is_same_v<decltype(type), Bf16>) {
      LOG(FATAL) << "MergeAttention is given wide results";
    } else {
      MergeOf<decltype(type)>(a);
    }
  });
}

void TakeColumnsPlain(const KernelArguments& a) {
  const View& x = a.inputs[0];
  const View& y = a.outputs[0];
  const int64_t skipped = a.op.attributes.Int("first") * SizeOf(x.dtype),
                bytes = y.shape.cols() * SizeOf(x.dtype);
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < y.shape.rows(); ++t) std::memcpy(y.row(t), x.row(t) + skipped, bytes);
}

void JoinColumnsPlain(const KernelArguments& a) {
  const View& y = a.outputs[0];
  ForFloat(y.dtype, [&](auto type) {
    using T = decltype(type);
    CopyColumns<Wide<T>, T>(a, a.inputs[0], y, 0);
    CopyColumns<Wide<T>, T>(a, a.inputs[1], y, a.inputs[0].shape.cols());
  });
}

}  // namespace trireme
