#include <cstring>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

template <typename T>
void AddOf(const KernelArguments& a) {
  const T* left = a.inputs[0].as<T>();
  const T* right = a.inputs[1].as<T>();
  T* sum = a.outputs[0].as<T>();
  const int64_t n = a.outputs[0].shape.num_elements();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t i = 0; i < n; ++i) Put(sum, i, Get(left, i) + Get(right, i));
}

template <typename From, typename To>
void CastOf(const KernelArguments& a) {
  const From* from = a.inputs[0].as<From>();
  To* to = a.outputs[0].as<To>();
  const int64_t n = a.outputs[0].shape.num_elements();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t i = 0; i < n; ++i) Put(to, i, Get(from, i));
}

template <typename T>
void AccumulateOf(const KernelArguments& a) {
  const T* x = a.inputs[0].as<T>();
  T* y = a.outputs[0].as<T>();
  const int64_t n = a.outputs[0].shape.num_elements();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t i = 0; i < n; ++i) Deliver(y, i, Get(x, i), a.accumulate);
}

// Of gradients on a grid.
void AccumulateWhole(const KernelArguments& a) {
  const int64_t* x = a.inputs[0].as<int64_t>();
  int64_t* y = a.outputs[0].as<int64_t>();
  const int64_t n = a.outputs[0].shape.num_elements();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t i = 0; i < n; ++i) y[i] = (a.accumulate ? y[i] : 0) + x[i];
}

int64_t RowBytes(const View& view) {
  return view.shape.cols() * SizeOf(view.dtype);
}

}  // namespace

void AddPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { AddOf<decltype(type)>(a); });
}

void CastPlain(const KernelArguments& a) {
  ForFloat(a.inputs[0].dtype, [&](auto from) {
    ForFloat(a.outputs[0].dtype, [&](auto to) { CastOf<decltype(from), decltype(to)>(a); });
  });
}

void AccumulatePlain(const KernelArguments& a) {
  if (a.inputs[0].dtype == DType::kI64) return AccumulateWhole(a);
  ForFloat(a.outputs[0].dtype, [&](auto type) { AccumulateOf<decltype(type)>(a); });
}

void GatherRowsPlain(const KernelArguments& a) {
  const int32_t* rows = a.inputs[1].as<int32_t>();
  const int64_t bytes = RowBytes(a.inputs[0]);
  for (int64_t i = 0; i < a.outputs[0].shape.rows(); ++i) {
    std::memcpy(a.outputs[0].as<char>() + i * bytes, a.inputs[0].as<char>() + rows[i] * bytes, bytes);
  }
}

void KeepOnFirstPlain(const KernelArguments& a) {
  const View& x = a.inputs[0];
  const int64_t bytes = x.shape.num_elements() * SizeOf(x.dtype);
  if (a.coordinate[a.op.attributes.AxisOf("axis")] != 0) {
    std::memset(a.outputs[0].data, 0, bytes);
  } else if (a.outputs[0].data != x.data) {
    std::memcpy(a.outputs[0].data, x.data, bytes);
  }
}

}  // namespace trireme
