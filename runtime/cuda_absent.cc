// Stands in for runtime/cuda/cuda_backend.cc in a build without CUDA.
#include <glog/logging.h>

#include "runtime/cuda_backend.h"

namespace trireme {
namespace {

absl::Status NotBuilt() {
  return absl::FailedPreconditionError(
      "this trireme was built without CUDA; install the CUDA toolkit and build with -DTRIREME_CUDA=ON");
}

}  // namespace

absl::StatusOr<int> NumCudaDevices() {
  return NotBuilt();
}

absl::StatusOr<std::unique_ptr<Device>> OpenCudaDevice(int) {
  return NotBuilt();
}

std::unique_ptr<GemmLibrary> OpenCudaGemmLibrary(Device&) {
  LOG(FATAL) << NotBuilt();
  return nullptr;
}

double MeasureCudaGemmPeak(DType, Device&) {
  LOG(FATAL) << NotBuilt();
  return 0;
}

}  // namespace trireme
