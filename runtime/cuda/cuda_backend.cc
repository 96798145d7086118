#include "runtime/cuda_backend.h"

#include "absl/strings/str_cat.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/gpu.h"

namespace trireme {

absl::StatusOr<int> NumCudaDevices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "CUDA can use no GPU here (", error == cudaSuccess ? "there is none" : cudaGetErrorString(error),
        "); check the card and NVIDIA's driver with nvidia-smi"));
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
