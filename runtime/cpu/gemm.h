// Dense matrix products on oneDNN: C = op(A) op(B) (+ bias) (+ C), all row-major.
#ifndef TRIREME_RUNTIME_CPU_GEMM_H_
#define TRIREME_RUNTIME_CPU_GEMM_H_

#include <cstdint>
#include <tuple>

#include "runtime/dtype.h"

namespace trireme {

struct GemmSpec {
  int64_t m = 0, n = 0, k = 0;  // op(A) is [m, k], op(B) [k, n], C [m, n]; any may be 0
  bool transpose_a = false;     // A is stored [k, m]
  bool transpose_b = false;     // B is stored [n, k]
  DType input = DType::kF32;    // of A and B: f32 or bf16
  DType output = DType::kF32;   // of C: f32, or bf16 where the input is bf16
  bool bias = false;            // f32 [n], added to every row
  bool accumulate = false;      // adds to C, which then is f32
  // Elements between the starts of two stored rows; 0: they follow each other.
  int64_t row_stride_a = 0, row_stride_b = 0, row_stride_c = 0;
  int num_threads = 1;

  friend bool operator==(const GemmSpec&, const GemmSpec&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const GemmSpec& s) {
    return H::combine(std::move(h), s.m, s.n, s.k, s.transpose_a, s.transpose_b, s.input, s.output, s.bias,
                      s.accumulate, s.row_stride_a, s.row_stride_b, s.row_stride_c, s.num_threads);
  }
};

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
