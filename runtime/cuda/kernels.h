// The CUDA kernels, an entry an op kind, for values in f32 and bf16: there is no f64 compute on this backend.
#ifndef TRIREME_RUNTIME_CUDA_KERNELS_H_
#define TRIREME_RUNTIME_CUDA_KERNELS_H_

#include "runtime/kernel.h"

namespace trireme {

// Aborts for a kind that has no kernel: what moves data between ranks, aliases and composites.
const KernelEntry& CudaKernel(OpKind kind);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_KERNELS_H_
