// Products by cuBLASLt. It thinks in columns: a row-major matrix is to it the transposed one, so C = A B is
// asked for as C^T = B^T A^T, with the operands in the other order.
#include <cublasLt.h>
#include <glog/logging.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "runtime/cuda/check.h"
#include "runtime/cuda/gemm.h"

namespace trireme {
namespace {

#define CUBLAS_CHECK(call)                                                \
  do {                                                                    \
    const cublasStatus_t cublas_check_status = (call);                    \
    CHECK(cublas_check_status == CUBLAS_STATUS_SUCCESS)                   \
        << #call << ": " << cublasLtGetStatusString(cublas_check_status); \
  } while (false)

cudaDataType_t TypeOf(DType dtype) {
  CHECK(dtype == DType::kF32 || dtype == DType::kBF16) << "no products of " << Name(dtype) << " on a GPU";
  return dtype == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF;
}

// A row-major matrix [rows, cols] as cuBLASLt sees it: its transpose.
cublasLtMatrixLayout_t Layout(DType dtype, int64_t rows, int64_t cols, int64_t row_stride) {
  cublasLtMatrixLayout_t layout;
  CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&layout, TypeOf(dtype), cols, rows,
                                          row_stride > 0 ? row_stride : std::max<int64_t>(cols, 1)));
  return layout;
}

template <typename T>
void Set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof(value)));
}

template <typename T>
void Prefer(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
            const T& value) {
  CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)));
}

// The largest power of two, up to 256, that all addresses are multiples of.
uint32_t CommonAlignment(std::initializer_list<const void*> addresses) {
  uintptr_t bits = 256;
  for (const void* address : addresses) bits |= reinterpret_cast<uintptr_t>(address);
  return static_cast<uint32_t>(bits & (~bits + 1));
}

// What one spec needs for a call; made once.
class Product {
 public:
  Product(cublasLtHandle_t handle, const GemmSpec& spec, uint32_t alignment) {
    CUBLAS_CHECK(cublasLtMatmulDescCreate(&desc_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    // cuBLASLt's A is our B.
    Set(desc_, CUBLASLT_MATMUL_DESC_TRANSA, spec.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    Set(desc_, CUBLASLT_MATMUL_DESC_TRANSB, spec.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (spec.bias) {
      Set(desc_, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      Set(desc_, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, TypeOf(spec.output));
    }
    b_ = spec.transpose_b ? Layout(spec.input, spec.n, spec.k, spec.row_stride_b)
                          : Layout(spec.input, spec.k, spec.n, spec.row_stride_b);
    a_ = spec.transpose_a ? Layout(spec.input, spec.k, spec.m, spec.row_stride_a)
                          : Layout(spec.input, spec.m, spec.k, spec.row_stride_a);
    c_ = Layout(spec.output, spec.m, spec.n, spec.row_stride_c);
    ChooseAlgorithm(handle, spec, alignment);
  }

  ~Product() {
    cublasLtMatrixLayoutDestroy(a_);
    cublasLtMatrixLayoutDestroy(b_);
    cublasLtMatrixLayoutDestroy(c_);
    cublasLtMatmulDescDestroy(desc_);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  void Run(cublasLtHandle_t handle, const void* a, const void* b, const void* bias, void* c, float beta,
           void* workspace, cudaStream_t stream) {
    if (bias != nullptr) Set(desc_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    const float alpha = 1;
    CUBLAS_CHECK(cublasLtMatmul(handle, desc_, &alpha, b, b_, a, a_, &beta, c, c_, c, c_, &algorithm_,
                                workspace, kCudaGemmWorkspaceBytes, stream));
  }

 private:
  // The library's first proposal: a function of the product, the card and the library's version. Sums between
  // the parts of a split k stay in fp32; in the output's dtype they would be rounded to bf16.
  void ChooseAlgorithm(cublasLtHandle_t handle, const GemmSpec& spec, uint32_t alignment) {
    cublasLtMatmulPreference_t preference;
    CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
    Prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
           static_cast<uint64_t>(kCudaGemmWorkspaceBytes));
    Prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      Prefer(preference, attribute, alignment);
    }
    cublasLtMatmulHeuristicResult_t proposal;
    int num_proposals = 0;
    CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(handle, desc_, b_, a_, c_, c_, preference, 1, &proposal,
                                                &num_proposals));
    CUBLAS_CHECK(cublasLtMatmulPreferenceDestroy(preference));
    CHECK_EQ(num_proposals, 1) << "cuBLASLt has no algorithm for " << spec.m << " x " << spec.n << " x "
                               << spec.k << " of " << Name(spec.input);
    algorithm_ = proposal.algo;
  }

  cublasLtMatmulDesc_t desc_;
  cublasLtMatrixLayout_t a_, b_, c_;
  cublasLtMatmulAlgo_t algorithm_;
};

// Of one thread, and so of one GPU.
struct Library {
  Library() { CUBLAS_CHECK(cublasLtCreate(&handle)); }

  cublasLtHandle_t handle;
  absl::flat_hash_map<std::pair<GemmSpec, uint32_t>, std::unique_ptr<Product>> products;
};

// Left to the end of the process: a thread may end after the CUDA runtime has.
Library& ThisThreads() {
  thread_local Library* const library = new Library;
  return *library;
}

}  // namespace

void CudaGemm(const GemmSpec& spec, const void* a, const void* b, const void* bias, void* c, void* workspace,
              void* stream) {
  if (spec.m == 0 || spec.n == 0) return;
  CHECK_GT(spec.k, 0) << "a product over nothing";
  Library& library = ThisThreads();
  const uint32_t alignment = CommonAlignment({a, b, c});
  std::unique_ptr<Product>& product = library.products[{spec, alignment}];
  if (product == nullptr) product = std::make_unique<Product>(library.handle, spec, alignment);
  product->Run(library.handle, a, b, bias, c, spec.accumulate ? 1.0f : 0.0f, workspace,
               static_cast<cudaStream_t>(stream));
}

}  // namespace trireme
