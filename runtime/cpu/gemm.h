// Dense matrix products on oneDNN (runtime/gemm_spec.h).
#ifndef TRIREME_RUNTIME_CPU_GEMM_H_
#define TRIREME_RUNTIME_CPU_GEMM_H_

#include <cstdint>

#include "runtime/gemm_spec.h"

namespace trireme {

// Products are accumulated in fp32. With AVX-512 and dense operands the bits of a row depend neither on the
// number of rows nor on that of threads; elsewhere oneDNN may split k between threads. `workspace` has
// GemmWorkspaceBytes(spec), 64-byte aligned; `bias` is read only where the spec has one. C may not overlap A
// or B. The first call (or size query) with a spec on a thread builds its primitive, 0.2 to 0.8 ms; later
// ones find it in a cache that belongs to the thread, as each rank is one thread, and take no lock.
void Gemm(const GemmSpec& spec, const void* a, const void* b, const void* bias, void* c, void* workspace);
int64_t GemmWorkspaceBytes(const GemmSpec& spec);

// Whether this CPU multiplies bf16 itself (AVX-512 and later). Where it does not, Gemm takes the path below.
bool HasBf16Products();

// The same product for bf16 inputs as f32 products of converted blocks. 64-byte aligned workspace.
void GemmByConversion(const GemmSpec& spec, const void* a, const void* b, const void* bias, void* c,
                      void* workspace);
int64_t GemmByConversionWorkspaceBytes(const GemmSpec& spec);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_GEMM_H_
