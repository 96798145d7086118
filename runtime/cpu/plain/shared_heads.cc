#include <cstring>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

// Which rows of the whole matrices are this rank's: those of part p begin at First(p).
struct SharedWindow {
  SharedWindow(const KernelArguments& a, int64_t shared_rows)
      : parts(a.op.attributes.Int("parts")),
        heads(a.op.attributes.Int("heads")),
        rows(shared_rows / parts),
        head(a.coordinate[Axis::kTp] * heads / a.mesh[Axis::kTp]) {}
  int64_t First(int64_t part) const { return (part * heads + head) * rows; }

  const int64_t parts, heads, rows, head;
};

template <typename T>
void SharedRowsGradOf(const KernelArguments& a) {
  const View& from = a.inputs[0];
  const View& to = a.outputs[0];
  const SharedWindow window(a, from.shape[0]);
  const int64_t part = window.rows * from.shape[1];
  if (!a.accumulate) std::memset(to.data, 0, to.shape.num_elements() * SizeOf(to.dtype));
  for (int64_t p = 0; p < window.parts; ++p) {
    const T* x = from.as<T>() + p * part;
    T* y = to.as<T>() + window.First(p) * from.shape[1];
#pragma omp parallel for num_threads(a.num_threads)
    for (int64_t i = 0; i < part; ++i) Deliver(y, i, Get(x, i), a.accumulate);
  }
}

}  // namespace

void SharedRowsPlain(const KernelArguments& a) {
  const View& w = a.inputs[0];
  const View& shared = a.outputs[0];
  const SharedWindow window(a, shared.shape[0]);
  const int64_t bytes = window.rows * w.shape[1] * SizeOf(w.dtype);
  for (int64_t p = 0; p < window.parts; ++p) {
    std::memcpy(shared.as<char>() + p * bytes, w.row(window.First(p)), bytes);
  }
}

void SharedRowsGradPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { SharedRowsGradOf<decltype(type)>(a); });
}

void ConcatColumnsPlain(const KernelArguments& a) {
  const View& y = a.outputs[0];
  const int64_t left = a.inputs[0].shape[1] * SizeOf(y.dtype), right = a.inputs[1].shape[1] * SizeOf(y.dtype);
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < y.shape[0]; ++t) {
    std::memcpy(y.row(t), a.inputs[0].row(t), left);
    std::memcpy(y.row(t) + left, a.inputs[1].row(t), right);
  }
}

void SplitColumnsPlain(const KernelArguments& a) {
  const View& y = a.inputs[0];
  const int64_t left = a.outputs[0].shape[1] * SizeOf(y.dtype),
                right = a.outputs[1].shape[1] * SizeOf(y.dtype);
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < y.shape[0]; ++t) {
    std::memcpy(a.outputs[0].row(t), y.row(t), left);
    std::memcpy(a.outputs[1].row(t), y.row(t) + left, right);
  }
}

}  // namespace trireme
