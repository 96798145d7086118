#include <cmath>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

template <typename T>
void RopeOf(const KernelArguments& a) {
  const T* x = a.inputs[0].as<T>();
  const int32_t* positions = a.inputs[1].as<int32_t>();
  T* y = a.outputs[0].as<T>();
  const Attributes& attributes = a.op.attributes;
  const int64_t heads = attributes.Int("query_heads") + attributes.Int("key_heads");
  const int64_t size = attributes.Int("head_size");
  const int64_t half = size / 2;
  const double theta = attributes.Float("theta");
  const double direction = attributes.Int("inverse") != 0 ? -1 : 1;
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = direction * positions[t] * std::pow(theta, -2.0 * i / size);
      const double cosine = static_cast<Wide<T>>(std::cos(angle));
      const double sine = static_cast<Wide<T>>(std::sin(angle));
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = t * cols + h * size + i;
        const double first = Get(x, at);
        const double second = Get(x, at + half);
        Put(y, at, first * cosine - second * sine);
        Put(y, at + half, second * cosine + first * sine);
      }
    }
    for (int64_t i = t * cols + heads * size; i < (t + 1) * cols; ++i) y[i] = x[i];
  }
}

}  // namespace

void RopePlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { RopeOf<decltype(type)>(a); });
}

}  // namespace trireme
