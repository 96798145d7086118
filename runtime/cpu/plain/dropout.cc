#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"
#include "runtime/random.h"

namespace trireme {
namespace {

template <typename T>
void DropoutOf(const KernelArguments& a) {
  const T* x = a.inputs[0].as<T>();
  const int64_t* token_index = a.inputs[1].as<int64_t>();
  T* y = a.outputs[0].as<T>();
  const double rate = a.op.attributes.Float("rate");
  const RandomStream stream(static_cast<uint64_t>(a.op.attributes.Int("seed")),
                            static_cast<uint64_t>(a.op.attributes.Int("name")));
  const int64_t rows = a.outputs[0].shape.rows();
  const int64_t cols = a.outputs[0].shape.cols();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    Philox4 words = {};
    for (int64_t d = 0; d < cols; ++d) {
      if (d % 4 == 0) words = stream.Words(token_index[t], d / 4);
      const bool kept = words[d % 4] >= rate * 0x1p32;
      Put(y, t * cols + d, kept ? Get(x, t * cols + d) / (1 - rate) : 0);
    }
  }
}

}  // namespace

void DropoutPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { DropoutOf<decltype(type)>(a); });
}

}  // namespace trireme
