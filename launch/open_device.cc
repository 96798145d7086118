#include "launch/open_device.h"

#include "absl/strings/str_cat.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/cuda_backend.h"

namespace trireme {

absl::Status CheckDevice(const Config& config) {
  if (config.train().device() != "cuda") return absl::OkStatus();
  if (config.train().dtype() == "fp64") {
    return absl::InvalidArgumentError(
        "train.dtype: fp64: the CUDA backend has no kernels for it; use fp32 or bf16, or train.device=cpu");
  }
  const absl::StatusOr<int> count = NumCudaDevices();
  if (count.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("train.device: cuda: ", count.status().message(), "; or use train.device=cpu"));
}

absl::StatusOr<std::unique_ptr<Device>> OpenDevice(const Config& config,
                                                   const LaunchEnvironment& environment) {
  const bool gpu_serves = config.train().device() != "cpu" && config.train().dtype() != "fp64";
  const absl::StatusOr<int> count = gpu_serves ? NumCudaDevices() : 0;
  if (count.ok() && *count > 0) return OpenCudaDevice(environment.local_rank % *count);
  if (config.train().device() == "cuda") return CheckDevice(config);
  return std::make_unique<CpuDevice>(environment.num_threads);
}

}  // namespace trireme
