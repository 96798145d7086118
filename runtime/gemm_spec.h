// A dense matrix product C = op(A) op(B) (+ bias) (+ C), all row-major, as every backend's library is asked
// for it; and the products behind the ops of ops/linear.h.
#ifndef TRIREME_RUNTIME_GEMM_SPEC_H_
#define TRIREME_RUNTIME_GEMM_SPEC_H_

#include <cstdint>
#include <utility>

#include "absl/types/span.h"
#include "runtime/dtype.h"
#include "runtime/kernel.h"

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

// kLinear: y [T, N] = x [T, K] w [N, K]^T + bias [N]
GemmSpec LinearSpec(absl::Span<const View> inputs, absl::Span<const View> outputs, int num_threads);
// kLinearInputGrad: dx [T, K] = dy [T, N] w [N, K]
GemmSpec LinearInputGradSpec(absl::Span<const View> inputs, absl::Span<const View> outputs, int num_threads);
// kLinearWeightGrad: dw [N, K] (+)= dy [T, N]^T x [T, K]
GemmSpec LinearWeightGradSpec(absl::Span<const View> inputs, bool accumulate, int num_threads);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_GEMM_SPEC_H_
