// The products of runtime/cuda/gemm.h by plain loops: cuBLASLt has no emulation.
#include <glog/logging.h>

#include <vector>

#include "runtime/cuda/gemm.h"

namespace trireme {
namespace {

// Element [row, col] of op(M).
double At(const void* matrix, DType dtype, bool transposed, int64_t stored_cols, int64_t stride, int64_t row,
          int64_t col) {
  const int64_t step = stride > 0 ? stride : stored_cols;
  const int64_t index = transposed ? col * step + row : row * step + col;
  return dtype == DType::kBF16 ? static_cast<float>(static_cast<const Bf16*>(matrix)[index])
                               : static_cast<const float*>(matrix)[index];
}

}  // namespace

void CudaGemm(const GemmSpec& spec, const void* a, const void* b, const void* bias, void* c, void* workspace,
              void*) {
  CHECK(workspace != nullptr);
  const int64_t stride_c = spec.row_stride_c > 0 ? spec.row_stride_c : spec.n;
  for (int64_t i = 0; i < spec.m; ++i) {
    for (int64_t j = 0; j < spec.n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < spec.k; ++l) {
        sum +=
            At(a, spec.input, spec.transpose_a, spec.transpose_a ? spec.m : spec.k, spec.row_stride_a, i, l) *
            At(b, spec.input, spec.transpose_b, spec.transpose_b ? spec.k : spec.n, spec.row_stride_b, l, j);
      }
      if (spec.bias) sum += At(bias, spec.output, false, spec.n, 0, 0, j);
      if (spec.output == DType::kBF16) {
        CHECK(!spec.accumulate);
        static_cast<Bf16*>(c)[i * stride_c + j] = Bf16(static_cast<float>(sum));
      } else {
        float& element = static_cast<float*>(c)[i * stride_c + j];
        element = static_cast<float>(spec.accumulate ? element + sum : sum);
      }
    }
  }
}

}  // namespace trireme
