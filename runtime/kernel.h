// What a kernel is given. A backend is a table of kernels, one an op kind, and a Device (device.h).
#ifndef TRIREME_RUNTIME_KERNEL_H_
#define TRIREME_RUNTIME_KERNEL_H_

#include <cstdint>

#include "absl/types/span.h"
#include "runtime/program.h"

namespace trireme {

// A value in memory: dense, row-major.
struct View {
  void* data = nullptr;  // nullptr where an optional operand is absent
  DType dtype = DType::kF32;
  Shape shape;

  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
  // Where row `index` of a matrix begins.
  char* row(int64_t index) const { return static_cast<char*>(data) + index * shape[1] * SizeOf(dtype); }
};

struct KernelArguments {
  const Op& op;
  absl::Span<const View> inputs;
  absl::Span<const View> outputs;
  bool accumulate;  // add into the parameter gradients among the outputs instead of overwriting them
  void* workspace;  // workspace_bytes() of it, 64-byte aligned, contents undefined; nullptr for 0
  AxisSizes mesh;
  AxisSizes coordinate = {{0, 0, 0, 0}};  // of this rank
  int num_threads;
  void* stream = nullptr;  // cudaStream_t of a CUDA device; the host has none
  // Bit i: output i is overwritten even so (StepPlan::passing_gradients). Matrices' gradients may pass while
  // vectors' do not, so an op that makes both asks accumulates().
  unsigned passing = 0;

  bool accumulates(int output) const { return accumulate && (passing >> output & 1u) == 0; }
};

// Runs to completion (CPU) or enqueues (CUDA).
using Kernel = void (*)(const KernelArguments& arguments);

// Scratch memory that a kernel needs for these operands. Only dtype and shape of the views are looked at.
using WorkspaceBytes = int64_t (*)(const Op& op, absl::Span<const View> inputs,
                                   absl::Span<const View> outputs, int num_threads);

struct KernelEntry {
  Kernel run = nullptr;
  WorkspaceBytes workspace_bytes = nullptr;  // nullptr: none
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_KERNEL_H_
