#include <cmath>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"
#include "runtime/cpu/ranges.h"

namespace trireme {
namespace {

const double kRootTwoOverPi = std::sqrt(2 / M_PI);
constexpr double kCubic = 0.044715;

template <typename T>
void GeluOf(const KernelArguments& a) {
  const T* x = a.inputs[0].as<T>();
  T* y = a.outputs[0].as<T>();
  const int64_t n = a.outputs[0].shape.num_elements();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t i = 0; i < n; ++i) {
    const double v = Get(x, i);
    Put(y, i, 0.5 * v * (1 + std::tanh(kRootTwoOverPi * (v + kCubic * v * v * v))));
  }
}

template <typename T>
void GeluGradOf(const KernelArguments& a) {
  const T* dy = a.inputs[0].as<T>();
  const T* x = a.inputs[1].as<T>();
  T* dx = a.outputs[0].as<T>();
  const int64_t n = a.outputs[0].shape.num_elements();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t i = 0; i < n; ++i) {
    const double v = Get(x, i);
    const double tanh = std::tanh(kRootTwoOverPi * (v + kCubic * v * v * v));
    const double slope = kRootTwoOverPi * (1 + 3 * kCubic * v * v);
    Put(dx, i, Get(dy, i) * 0.5 * (1 + tanh + v * (1 - tanh * tanh) * slope));
  }
}

double Sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

template <typename T>
void SwiGluOf(const KernelArguments& a) {
  const T* gate_up = a.inputs[0].as<T>();
  T* y = a.outputs[0].as<T>();
  const int64_t rows = ExistingRows(a, 1, a.outputs[0].shape.rows());
  const int64_t cols = a.outputs[0].shape.cols();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t f = 0; f < cols; ++f) {
      const double gate = Get(gate_up, t * 2 * cols + f);
      const double up = Get(gate_up, t * 2 * cols + cols + f);
      Put(y, t * cols + f, gate * Sigmoid(gate) * up);
    }
  }
}

template <typename T>
void SwiGluGradOf(const KernelArguments& a) {
  const T* dy = a.inputs[0].as<T>();
  const T* gate_up = a.inputs[1].as<T>();
  T* dgate_up = a.outputs[0].as<T>();
  const int64_t rows = ExistingRows(a, 2, a.inputs[0].shape.rows());
  const int64_t cols = a.inputs[0].shape.cols();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t f = 0; f < cols; ++f) {
      const int64_t at = t * 2 * cols + f;
      const double gate = Get(gate_up, at);
      const double up = Get(gate_up, at + cols);
      const double gradient = Get(dy, t * cols + f);
      const double sigmoid = Sigmoid(gate);
      Put(dgate_up, at, gradient * up * sigmoid * (1 + gate * (1 - sigmoid)));
      Put(dgate_up, at + cols, gradient * gate * sigmoid);
    }
  }
}

}  // namespace

void GeluPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { GeluOf<decltype(type)>(a); });
}

void GeluGradPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { GeluGradOf<decltype(type)>(a); });
}

void SwiGluPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { SwiGluOf<decltype(type)>(a); });
}

void SwiGluGradPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { SwiGluGradOf<decltype(type)>(a); });
}

}  // namespace trireme
