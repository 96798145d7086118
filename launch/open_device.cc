#include "launch/open_device.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/cuda_backend.h"

namespace trireme {

absl::StatusOr<std::unique_ptr<Device>> OpenDevice(const Config& config,
                                                   const LaunchEnvironment& environment) {
  const std::string& wanted = config.train().device();
  if (wanted == "cuda" && config.train().dtype() == "fp64") {
    return absl::InvalidArgumentError(
        "train.dtype: fp64: the CUDA backend has no kernels for it; use fp32 or bf16, or train.device=cpu");
  }
  if (wanted != "cpu" && config.train().dtype() != "fp64") {
    const absl::StatusOr<int> count = NumCudaDevices();
    if (count.ok()) return OpenCudaDevice(environment.local_rank % *count);
    if (wanted == "cuda") {
      return absl::InvalidArgumentError(
          absl::StrCat("train.device: cuda: ", count.status().message(), "; or use train.device=cpu"));
    }
  }
  return std::make_unique<CpuDevice>(environment.num_threads);
}

}  // namespace trireme
