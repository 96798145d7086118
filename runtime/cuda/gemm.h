// Dense matrix products on a GPU (runtime/gemm_spec.h).
#ifndef TRIREME_RUNTIME_CUDA_GEMM_H_
#define TRIREME_RUNTIME_CUDA_GEMM_H_

#include <cstdint>

#include "runtime/gemm_spec.h"

namespace trireme {

inline constexpr int64_t kCudaGemmWorkspaceBytes = int64_t{32} << 20;

struct GemmOperands {
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  void* bias = nullptr;  // of the output's dtype; written by GemmEpilogue::kBiasGrad alone
  void* aux = nullptr;   // GemmEpilogue
};

// Enqueues the product on `stream` (cudaStream_t). Sums are fp32 whatever the dtype, also those between the
// parts of a split k; the algorithm depends on the spec and the card alone, so that every rank and every run
// gets the same bits. `workspace`: kCudaGemmWorkspaceBytes. The first call with a spec on a thread looks for
// its algorithm; later ones find it in a cache that belongs to the thread, as each rank is one.
// A spec with an epilogue must be one that TakesEpilogue.
void CudaGemm(const GemmSpec& spec, const GemmOperands& operands, void* workspace, void* stream);

// Whether this thread was told (GemmLibrary::Use) to do the product and its epilogue in one kernel, because
// that was timed and found the fastest. Else RunEpilogue follows the product alone.
bool TakesEpilogue(const GemmSpec& spec, const GemmOperands& operands);

// Whether the library may be asked for the epilogue at all: what its documentation demands, and what of it
// this backend trusts (README.md). `alignment`: GemmAlignment of the operands.
bool MayAskForEpilogue(const GemmSpec& spec, uint32_t alignment);

// Enqueues what the epilogue of `spec` does behind the product alone, which has been written to `aux` by
// kGeluKept and to `c` by others: kernels of this backend. `workspace`: EpilogueWorkspaceBytes.
void RunEpilogue(const GemmSpec& spec, const GemmOperands& operands, bool adds_bias_gradient, void* workspace,
                 void* stream);
int64_t EpilogueWorkspaceBytes(const GemmSpec& spec);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_GEMM_H_
