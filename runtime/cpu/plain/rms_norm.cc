#include <cmath>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

template <typename T>
void RmsNormOf(const KernelArguments& a, const T* x, const View& gain_view, const View& y_view,
               const View& r_view) {
  const Wide<T>* gain = gain_view.as<Wide<T>>();
  T* y = y_view.as<T>();
  Wide<T>* r = r_view.as<Wide<T>>();
  const double eps = a.op.attributes.Float("eps");
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    double squares = 0;
    for (int64_t d = 0; d < cols; ++d) squares += Get(x, t * cols + d) * Get(x, t * cols + d);
    Put(r, t, 1 / std::sqrt(squares / cols + eps));
    for (int64_t d = 0; d < cols; ++d) Put(y, t * cols + d, Get(x, t * cols + d) * Get(r, t) * Get(gain, d));
  }
}

// dx is the norm's own, or added to that of the stream.
template <typename T>
void RmsNormGradOf(const KernelArguments& a) {
  const T* dy = a.inputs[0].as<T>();
  const T* x = a.inputs[1].as<T>();
  const Wide<T>* gain = a.inputs[2].as<Wide<T>>();
  const Wide<T>* r = a.inputs[3].as<Wide<T>>();
  const T* dsum = a.inputs.size() > 4 ? a.inputs[4].as<T>() : nullptr;
  T* dx = a.outputs[0].as<T>();
  Wide<T>* dgain = a.outputs[1].as<Wide<T>>();
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
  // Before dx, which may overwrite dy.
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t d = 0; d < cols; ++d) {
    double sum = 0;
    for (int64_t t = 0; t < rows; ++t) sum += Get(dy, t * cols + d) * Get(x, t * cols + d) * Get(r, t);
    Deliver(dgain, d, sum, a.accumulate);
  }
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    double dot = 0;
    for (int64_t d = 0; d < cols; ++d) dot += Get(dy, t * cols + d) * Get(gain, d) * Get(x, t * cols + d);
    const double inverse = Get(r, t);
    const double mean = dot * inverse * inverse / cols;
    for (int64_t d = 0; d < cols; ++d) {
      const int64_t at = t * cols + d;
      const double own = inverse * (Get(dy, at) * Get(gain, d) - Get(x, at) * mean);
      Put(dx, at, dsum == nullptr ? own : own + Get(dsum, at));
    }
  }
}

}  // namespace

void RmsNormPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    RmsNormOf<T>(a, a.inputs[0].as<T>(), a.inputs[1], a.outputs[0], a.outputs[1]);
  });
}

void AddRmsNormPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    T* sum = a.outputs[0].as<T>();
    AddElements(a.inputs[0].as<T>(), a.inputs[1].as<T>(), sum, a.outputs[0].shape.num_elements(),
                a.num_threads);
    RmsNormOf<T>(a, sum, a.inputs[2], a.outputs[1], a.outputs[2]);
  });
}

void RmsNormGradPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { RmsNormGradOf<decltype(type)>(a); });
}

}  // namespace trireme
