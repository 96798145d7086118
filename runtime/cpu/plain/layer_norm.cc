#include <cmath>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

template <typename T>
void LayerNormOf(const KernelArguments& a, const T* x, const View& gain_view, const View& bias_view,
                 const View& y_view, const View& statistics_view) {
  const Wide<T>* gain = gain_view.as<Wide<T>>();
  const Wide<T>* bias = bias_view.as<Wide<T>>();
  T* y = y_view.as<T>();
  Wide<T>* statistics = statistics_view.as<Wide<T>>();
  const double eps = a.op.attributes.Float("eps");
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    double sum = 0;
    for (int64_t d = 0; d < cols; ++d) sum += Get(x, t * cols + d);
    const double mean = sum / cols;
    double squares = 0;
    for (int64_t d = 0; d < cols; ++d) {
      const double centred = Get(x, t * cols + d) - mean;
      squares += centred * centred;
    }
    const double inverse = 1 / std::sqrt(squares / cols + eps);
    Put(statistics, 2 * t, mean);
    Put(statistics, 2 * t + 1, inverse);
    for (int64_t d = 0; d < cols; ++d) {
      const int64_t at = t * cols + d;
      Put(y, at, (Get(x, at) - mean) * inverse * Get(gain, d) + Get(bias, d));
    }
  }
}

// dx is the norm's own, or added to that of the stream.
template <typename T>
void LayerNormGradOf(const KernelArguments& a) {
  const T* dy = a.inputs[0].as<T>();
  const T* x = a.inputs[1].as<T>();
  const Wide<T>* gain = a.inputs[2].as<Wide<T>>();
  const Wide<T>* statistics = a.inputs[3].as<Wide<T>>();
  const T* dsum = a.inputs.size() > 4 ? a.inputs[4].as<T>() : nullptr;
  T* dx = a.outputs[0].as<T>();
  Wide<T>* dgain = a.outputs[1].as<Wide<T>>();
  Wide<T>* dbias = a.outputs[2].as<Wide<T>>();
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
  const auto normalized = [=](int64_t t, int64_t d) {
    return (Get(x, t * cols + d) - Get(statistics, 2 * t)) * Get(statistics, 2 * t + 1);
  };
  // Before dx, which may overwrite dy.
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t d = 0; d < cols; ++d) {
    double gain_sum = 0;
    double bias_sum = 0;
    for (int64_t t = 0; t < rows; ++t) {
      gain_sum += Get(dy, t * cols + d) * normalized(t, d);
      bias_sum += Get(dy, t * cols + d);
    }
    Deliver(dgain, d, gain_sum, a.accumulate);
    Deliver(dbias, d, bias_sum, a.accumulate);
  }
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    double sum = 0;
    double dot = 0;
    for (int64_t d = 0; d < cols; ++d) {
      const double scaled = Get(dy, t * cols + d) * Get(gain, d);
      sum += scaled;
      dot += scaled * normalized(t, d);
    }
    for (int64_t d = 0; d < cols; ++d) {
      const double scaled = Get(dy, t * cols + d) * Get(gain, d);
      const double own = Get(statistics, 2 * t + 1) * (scaled - sum / cols - normalized(t, d) * dot / cols);
      Put(dx, t * cols + d, dsum == nullptr ? own : own + Get(dsum, t * cols + d));
    }
  }
}

}  // namespace

void LayerNormPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    LayerNormOf<T>(a, a.inputs[0].as<T>(), a.inputs[1], a.inputs[2], a.outputs[0], a.outputs[1]);
  });
}

void AddLayerNormPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    T* sum = a.outputs[0].as<T>();
    AddElements(a.inputs[0].as<T>(), a.inputs[1].as<T>(), sum, a.outputs[0].shape.num_elements(),
                a.num_threads);
    LayerNormOf<T>(a, sum, a.inputs[2], a.inputs[3], a.outputs[1], a.outputs[2]);
  });
}

void LayerNormGradPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { LayerNormGradOf<decltype(type)>(a); });
}

}  // namespace trireme
