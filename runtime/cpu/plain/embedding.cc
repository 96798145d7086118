#include <cstring>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

int64_t FirstLocalRow(const KernelArguments& a, int64_t rows) {
  return a.op.attributes.Int("sharded") != 0 ? a.coordinate[Axis::kTp] * rows : 0;
}

template <typename T>
void EmbeddingGradOf(const KernelArguments& a) {
  const T* dy = a.inputs[0].as<T>();
  const int32_t* ids = a.inputs[1].as<int32_t>();
  Wide<T>* dtable = a.outputs[0].as<Wide<T>>();
  const int64_t tokens = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
  const int64_t rows = a.outputs[0].shape.rows();
  const int64_t first = FirstLocalRow(a, rows);
  if (!a.accumulate) std::memset(dtable, 0, rows * cols * sizeof(Wide<T>));
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t row = ids[t] - first;
    if (row < 0 || row >= rows) continue;
    for (int64_t d = 0; d < cols; ++d) Deliver(dtable, row * cols + d, Get(dy, t * cols + d), true);
  }
}

}  // namespace

void EmbeddingPlain(const KernelArguments& a) {
  const int32_t* ids = a.inputs[0].as<int32_t>();
  const View& table = a.inputs[1];
  const int64_t tokens = a.outputs[0].shape.rows();
  const int64_t rows = table.shape.rows();
  const int64_t first = FirstLocalRow(a, rows);
  const int64_t bytes = table.shape.cols() * SizeOf(table.dtype);
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < tokens; ++t) {
    char* x = a.outputs[0].as<char>() + t * bytes;
    const int64_t row = ids[t] - first;
    if (row < 0 || row >= rows) {
      std::memset(x, 0, bytes);
    } else {
      std::memcpy(x, table.as<char>() + row * bytes, bytes);
    }
  }
}

void EmbeddingGradPlain(const KernelArguments& a) {
  ForFloat(a.inputs[0].dtype, [&](auto type) { EmbeddingGradOf<decltype(type)>(a); });
}

}  // namespace trireme
