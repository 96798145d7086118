// A dense matrix product C = op(A) op(B) (+ bias) (+ C), all row-major, as every backend's library is asked
// for it, and what may be done in the same kernel; and the products behind the ops of ops/linear.h.
#ifndef TRIREME_RUNTIME_GEMM_SPEC_H_
#define TRIREME_RUNTIME_GEMM_SPEC_H_

#include <cstdint>
#include <utility>

#include "absl/types/span.h"
#include "runtime/dtype.h"
#include "runtime/kernel.h"

namespace trireme {

// What follows a product in the same kernel, where a backend's library does that. GELU in its tanh form
// (ops/activation.h).
enum class GemmEpilogue : uint8_t {
  kNone,
  kGelu,      // C = GELU(op(A) op(B) + bias)
  kGeluKept,  // the same; and what GELU is taken of, rounded to C's dtype, to `aux` [m, n]
  kGeluGrad,  // C = op(A) op(B) times GELU's slope at `aux` [m, n] of C's dtype
  kBiasGrad,  // f32 `bias` [m] = the sum over k of op(A); never added to, also where C is
};

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
  GemmEpilogue epilogue = GemmEpilogue::kNone;

  // The product alone.
  GemmSpec WithoutEpilogue() const {
    GemmSpec product = *this;
    product.epilogue = GemmEpilogue::kNone;
    return product;
  }

  friend bool operator==(const GemmSpec&, const GemmSpec&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const GemmSpec& s) {
    return H::combine(std::move(h), s.m, s.n, s.k, s.transpose_a, s.transpose_b, s.input, s.output, s.bias,
                      s.accumulate, s.row_stride_a, s.row_stride_b, s.row_stride_c, s.num_threads,
                      s.epilogue);
  }
};

// kLinear: y [T, N] = x [T, K] w [N, K]^T + bias [N]
GemmSpec LinearSpec(absl::Span<const View> inputs, absl::Span<const View> outputs, int num_threads);
// kLinearInputGrad: dx [T, K] = dy [T, N] w [N, K]
GemmSpec LinearInputGradSpec(absl::Span<const View> inputs, absl::Span<const View> outputs, int num_threads);
// kLinearWeightGrad: dw [N, K] (+)= dy [T, N]^T x [T, K]
GemmSpec LinearWeightGradSpec(absl::Span<const View> inputs, bool accumulate, int num_threads);
// The same with their epilogues: kLinearGelu, kLinearInputGeluGrad and kLinearWeightBiasGrad.
GemmSpec LinearGeluSpec(absl::Span<const View> inputs, absl::Span<const View> outputs, int num_threads);
GemmSpec LinearInputGeluGradSpec(absl::Span<const View> inputs, absl::Span<const View> outputs,
                                 int num_threads);
GemmSpec LinearWeightBiasGradSpec(absl::Span<const View> inputs, bool accumulate, int num_threads);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_GEMM_SPEC_H_
