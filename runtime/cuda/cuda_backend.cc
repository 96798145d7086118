#include "runtime/cuda_backend.h"

#include "absl/strings/str_cat.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/gpu.h"

namespace trireme {

absl::StatusOr<int> NumCudaDevices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    return absl::FailedPreconditionError("this machine has no GPU that CUDA can see");
  }
  if (error != cudaSuccess) {
    return absl::FailedPreconditionError(absl::StrCat(
        "CUDA finds no usable driver here (", cudaGetErrorString(error), "); install NVIDIA's driver"));
  }
  return count;
}

absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(int ordinal) {
  const absl::StatusOr<int> count = NumCudaDevices();
  if (!count.ok()) return count.status();
  if (ordinal < 0 || ordinal >= *count) {
    return absl::InvalidArgumentError(
        absl::StrCat("GPU ", ordinal, " was asked for, and this process sees ", *count));
  }
  return std::make_unique<CudaDevice>(ordinal);
}

}  // namespace trireme
