// Rows of the key and value heads that ranks of tp share, and columns side by side: copies, and one sum.
// Floors, n elements of s bytes copied: 2 s n; SharedRowsGrad 4 of the whole matrix and 8 of the window,
// adding 12 of the window.
#include <glog/logging.h>

#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/map.h"

namespace trireme {
namespace {

struct WindowSum {
  GPU_FN float operator()(float x, float y) const { return x + y; }
};

// Calls f(part, first row of this rank's window of it, rows of a window).
template <typename F>
void ForSharedWindows(const KernelArguments& a, int64_t shared_rows, F f) {
  const int64_t parts = a.op.attributes.Int("parts"), heads = a.op.attributes.Int("heads");
  const int64_t rows = shared_rows / parts, head = a.coordinate[Axis::kTp] * heads / a.mesh[Axis::kTp];
  for (int64_t part = 0; part < parts; ++part) f(part, (part * heads + head) * rows, rows);
}

void Copy(void* to, const void* from, int64_t bytes, void* stream) {
  CHECK_EQ(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream)),
           cudaSuccess);
}

// `rows` rows of `bytes`, that begin `to_pitch` and `from_pitch` bytes apart.
void CopyColumns(void* to, int64_t to_pitch, const void* from, int64_t from_pitch, int64_t bytes,
                 int64_t rows, void* stream) {
  CHECK_EQ(cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, bytes, rows, cudaMemcpyDeviceToDevice,
                             static_cast<cudaStream_t>(stream)),
           cudaSuccess);
}

int64_t PitchOf(const View& view) {
  return view.shape[1] * SizeOf(view.dtype);
}

}  // namespace

void SharedRowsCuda(const KernelArguments& a) {
  const View& w = a.inputs[0];
  const View& shared = a.outputs[0];
  ForSharedWindows(a, shared.shape[0], [&](int64_t part, int64_t first, int64_t rows) {
    Copy(shared.row(part * rows), w.row(first), rows * PitchOf(w), a.stream);
  });
}

void SharedRowsGradCuda(const KernelArguments& a) {
  const View& x = a.inputs[0];
  const View& y = a.outputs[0];
  if (!a.accumulate) {
    CHECK_EQ(cudaMemsetAsync(y.data, 0, y.shape.num_elements() * SizeOf(y.dtype),
                             static_cast<cudaStream_t>(a.stream)),
             cudaSuccess);
  }
  ForSharedWindows(a, x.shape[0], [&](int64_t part, int64_t first, int64_t rows) {
    const int64_t n = rows * x.shape[1];
    const float* from = WideOf(x) + part * n;
    float* to = WideOf(y) + first * x.shape[1];
    if (a.accumulate) {
      Map(WindowSum{}, n, a.stream, to, from, static_cast<const float*>(to));
    } else {
      Copy(to, from, n * static_cast<int64_t>(sizeof(float)), a.stream);
    }
  });
}

void ConcatColumnsCuda(const KernelArguments& a) {
  const View& left = a.inputs[0];
  const View& right = a.inputs[1];
  const View& y = a.outputs[0];
  CopyColumns(y.data, PitchOf(y), left.data, PitchOf(left), PitchOf(left), y.shape[0], a.stream);
  CopyColumns(y.as<char>() + PitchOf(left), PitchOf(y), right.data, PitchOf(right), PitchOf(right),
              y.shape[0], a.stream);
}

void SplitColumnsCuda(const KernelArguments& a) {
  const View& y = a.inputs[0];
  const View& left = a.outputs[0];
  const View& right = a.outputs[1];
  CopyColumns(left.data, PitchOf(left), y.data, PitchOf(y), PitchOf(left), y.shape[0], a.stream);
  CopyColumns(right.data, PitchOf(right), y.as<const char>() + PitchOf(left), PitchOf(y), PitchOf(right),
              y.shape[0], a.stream);
}

}  // namespace trireme
