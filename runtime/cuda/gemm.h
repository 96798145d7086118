// Dense matrix products on a GPU (runtime/gemm_spec.h).
#ifndef TRIREME_RUNTIME_CUDA_GEMM_H_
#define TRIREME_RUNTIME_CUDA_GEMM_H_

#include <cstdint>

#include "runtime/gemm_spec.h"

namespace trireme {

inline constexpr int64_t kCudaGemmWorkspaceBytes = int64_t{32} << 20;

// Enqueues the product on `stream` (cudaStream_t). Sums are fp32 whatever the dtype, also those between the
// parts of a split k; the algorithm depends on the spec and the card alone, so that every rank and every run
// gets the same bits. `bias`: of the output's dtype. `workspace`: kCudaGemmWorkspaceBytes. The first call
// with a spec on a thread looks for its algorithm; later ones find it in a cache that belongs to the thread,
// as each rank is one.
void CudaGemm(const GemmSpec& spec, const void* a, const void* b, const void* bias, void* c, void* workspace,
              void* stream);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_GEMM_H_
