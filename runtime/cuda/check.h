// Calls of the CUDA runtime that only our own bugs or broken hardware make fail.
#ifndef TRIREME_RUNTIME_CUDA_CHECK_H_
#define TRIREME_RUNTIME_CUDA_CHECK_H_

#include <glog/logging.h>

#include "runtime/cuda/gpu.h"

// Ends the process where `call` does not return cudaSuccess, with the call and what CUDA says of it. A macro
// for the text of the call and the line that it stands on.
#define GPU_CHECK(call)                                                                            \
  do {                                                                                             \
    const cudaError_t gpu_check_error = (call);                                                    \
    CHECK(gpu_check_error == cudaSuccess) << #call << ": " << cudaGetErrorString(gpu_check_error); \
  } while (false)

#endif  // TRIREME_RUNTIME_CUDA_CHECK_H_
