// Whether and where this program can run on GPUs. Served by runtime/cuda/ in a build with CUDA, and by a file
// that says no in one without, so that nothing above has to know how it was built.
#ifndef TRIREME_RUNTIME_CUDA_BACKEND_H_
#define TRIREME_RUNTIME_CUDA_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/device.h"
#include "runtime/dtype.h"
#include "runtime/gemm_library.h"

namespace trireme {

// The GPUs that this process sees, at least one; else why there is none: a build without CUDA, no driver, a
// driver that is too old, no card.
absl::StatusOr<int> NumCudaDevices();

// GPU number `ordinal` of them, for the thread that asks.
absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(int ordinal);

// The products of this GPU, as the thread that asks will make them. `device`: of OpenCudaDevice, and outlives
// it.
std::unique_ptr<GemmLibrary> OpenCudaGemmLibrary(Device& device);

// The best that products of f32 or bf16 operands reach on this GPU right now, in GFLOP/s, on random numbers;
// takes a second. `device`: of OpenCudaDevice.
double MeasureCudaGemmPeak(DType dtype, Device& device);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_BACKEND_H_
