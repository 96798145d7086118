// What launchers share: the C++ type of a dtype, operands that are always wide, and the size of grids. Grids
// follow from sizes alone, never from the card at hand, so that sums come out the same on every one.
#ifndef TRIREME_RUNTIME_CUDA_LAUNCH_H_
#define TRIREME_RUNTIME_CUDA_LAUNCH_H_

#include <glog/logging.h>

#include <cstdint>
#include <limits>

#include "runtime/cuda/gpu.h"
#include "runtime/kernel.h"

namespace trireme {

// Multiprocessors of the card that persistent grids are sized for (H100 and H200).
inline constexpr int64_t kTargetMultiprocessors = 132;

// Calls f with a value of the C++ type of a compute dtype.
template <typename F>
void ForCudaFloat(DType dtype, F f) {
  switch (dtype) {
    case DType::kF32:
      return f(float{});
    case DType::kBF16:
      return f(bf16{});
    default:
      LOG(FATAL) << "a CUDA kernel was given " << Name(dtype) << "; they compute in f32 and bf16";
  }
}

// An operand that is f32 beside either compute dtype: vectors, statistics, parameter gradients.
inline float* WideOf(const View& view) {
  CHECK(view.dtype == DType::kF32) << "a CUDA kernel was given " << Name(view.dtype) << " where it wants f32";
  return view.as<float>();
}

// A one-dimensional grid.
inline unsigned GridOf(int64_t blocks) {
  CHECK_LE(blocks, std::numeric_limits<int32_t>::max()) << "blocks of a grid";
  return static_cast<unsigned>(blocks);
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_LAUNCH_H_
