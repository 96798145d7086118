// Products by cuBLASLt. It thinks in columns: a row-major matrix is to it the transposed one, so C = A B is
// asked for as C^T = B^T A^T, with the operands in the other order.
#include <cublasLt.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "runtime/cuda/check.h"
#include "runtime/cuda/gemm.h"
#include "runtime/cuda_backend.h"

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

// A name for a type of the library's that has none, which nvcc's front end needs in templates.
struct Algorithm {
  cublasLtMatmulAlgo_t algorithm;

  // Which the library understands in any process that has the same version of it.
  std::string Bytes() const {
    return std::string(reinterpret_cast<const char*>(&algorithm), sizeof(algorithm));
  }
};

constexpr int kMostProposals = 16;

// What one spec needs for a call; made once.
class Product {
 public:
  Product(cublasLtHandle_t handle, const GemmSpec& spec, uint32_t alignment)
      : handle_(handle), spec_(spec), alignment_(alignment) {
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
    algorithm_ = Proposals(1).front().algorithm;
  }

  ~Product() {
    cublasLtMatrixLayoutDestroy(a_);
    cublasLtMatrixLayoutDestroy(b_);
    cublasLtMatrixLayoutDestroy(c_);
    cublasLtMatmulDescDestroy(desc_);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  void Run(const void* a, const void* b, const void* bias, void* c, float beta, void* workspace,
           cudaStream_t stream) {
    if (bias != nullptr) Set(desc_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    const float alpha = 1;
    CUBLAS_CHECK(cublasLtMatmul(handle_, desc_, &alpha, b, b_, a, a_, &beta, c, c_, c, c_, &algorithm_,
                                workspace, kCudaGemmWorkspaceBytes, stream));
  }

  // At most `most` of the algorithms that the library proposes, its favourite first: a function of the
  // product, the card and the library's version. Sums between the parts of a split k stay in fp32; in the
  // output's dtype they would be rounded to bf16.
  std::vector<Algorithm> Proposals(int most) const {
    cublasLtMatmulPreference_t preference;
    CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
    Prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
           static_cast<uint64_t>(kCudaGemmWorkspaceBytes));
    Prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      Prefer(preference, attribute, alignment_);
    }
    CHECK_LE(most, kMostProposals);
    cublasLtMatmulHeuristicResult_t proposals[kMostProposals];
    int num_proposals = 0;
    CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(handle_, desc_, b_, a_, c_, c_, preference, most, proposals,
                                                &num_proposals));
    CUBLAS_CHECK(cublasLtMatmulPreferenceDestroy(preference));
    std::vector<Algorithm> algorithms;
    for (int i = 0; i < num_proposals; ++i) {
      if (proposals[i].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back({proposals[i].algo});
    }
    CHECK(!algorithms.empty()) << "cuBLASLt has no algorithm for " << spec_.m << " x " << spec_.n << " x "
                               << spec_.k << " of " << Name(spec_.input);
    return algorithms;
  }

  // Asked of the library first, which may not know what an older file of another card says.
  void Use(const cublasLtMatmulAlgo_t& algorithm) {
    cublasLtMatmulHeuristicResult_t checked;
    const cublasStatus_t status =
        cublasLtMatmulAlgoCheck(handle_, desc_, b_, a_, c_, c_, &algorithm, &checked);
    CHECK(status == CUBLAS_STATUS_SUCCESS && checked.workspaceSize <= kCudaGemmWorkspaceBytes)
        << "cuBLASLt does not take an algorithm that train.gemm_choices has for " << spec_.m << " x "
        << spec_.n << " x " << spec_.k << " of " << Name(spec_.input) << "; remove the file";
    algorithm_ = algorithm;
  }

 private:
  const cublasLtHandle_t handle_;
  const GemmSpec spec_;
  const uint32_t alignment_;
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

Product& ProductOf(const GemmSpec& spec, uint32_t alignment) {
  Library& library = ThisThreads();
  std::unique_ptr<Product>& product = library.products[{spec, alignment}];
  if (product == nullptr) product = std::make_unique<Product>(library.handle, spec, alignment);
  return *product;
}

// Random numbers of +-[0.5, 1) as bf16 and, a pair each, as f32: products of zeros are faster than others.
void FillWithNumbers(void* data, int64_t bytes, cudaStream_t stream) {
  constexpr int64_t kBytes = 1 << 20;
  std::vector<uint16_t> numbers(kBytes / sizeof(uint16_t));
  std::minstd_rand random(1);
  for (uint16_t& number : numbers) number = static_cast<uint16_t>(0x3f00 | (random() >> 8 & 0x807f));
  for (int64_t begin = 0; begin < bytes; begin += kBytes) {
    GPU_CHECK(cudaMemcpyAsync(static_cast<char*>(data) + begin, numbers.data(),
                              std::min(kBytes, bytes - begin), cudaMemcpyHostToDevice, stream));
  }
  GPU_CHECK(cudaStreamSynchronize(stream));
}

class CublasLtLibrary : public GemmLibrary {
 public:
  explicit CublasLtLibrary(Device& device) : stream_(static_cast<cudaStream_t>(device.native(0))) {
    int ordinal = 0;
    cudaDeviceProp properties;
    GPU_CHECK(cudaGetDevice(&ordinal));
    GPU_CHECK(cudaGetDeviceProperties(&properties, ordinal));
    version_ = absl::StrCat(properties.name, ", cuBLASLt ", cublasLtGetVersion());
    GPU_CHECK(cudaEventCreate(&begin_));
    GPU_CHECK(cudaEventCreate(&end_));
  }
  ~CublasLtLibrary() override {
    GPU_CHECK(cudaEventDestroy(begin_));
    GPU_CHECK(cudaEventDestroy(end_));
  }
  CublasLtLibrary(const CublasLtLibrary&) = delete;
  CublasLtLibrary& operator=(const CublasLtLibrary&) = delete;

  std::string version() const override { return version_; }

  std::vector<GemmCandidate> Time(const GemmUse& use) override {
    const GemmSpec& spec = use.problem.spec;
    CHECK(spec.row_stride_a == 0 && spec.row_stride_b == 0 && spec.row_stride_c == 0);
    const int64_t a_bytes = spec.m * spec.k * SizeOf(spec.input);
    const int64_t b_bytes = spec.k * spec.n * SizeOf(spec.input);
    FillWithNumbers(use.a, a_bytes, stream_);
    FillWithNumbers(use.b, b_bytes, stream_);
    Product& product = ProductOf(spec, use.problem.alignment);
    std::vector<GemmCandidate> candidates;
    for (const Algorithm& proposal : product.Proposals(kMostProposals)) {
      product.Use(proposal.algorithm);
      candidates.push_back({proposal.Bytes(), Seconds(product, use)});
    }
    GPU_CHECK(cudaMemsetAsync(use.a, 0, a_bytes, stream_));
    GPU_CHECK(cudaMemsetAsync(use.b, 0, b_bytes, stream_));
    GPU_CHECK(cudaMemsetAsync(use.c, 0, spec.m * spec.n * SizeOf(spec.output), stream_));
    GPU_CHECK(cudaMemsetAsync(use.workspace, 0, kCudaGemmWorkspaceBytes, stream_));
    GPU_CHECK(cudaStreamSynchronize(stream_));
    return candidates;
  }

  void Use(const GemmProblem& problem, const std::string& bytes) override {
    cublasLtMatmulAlgo_t algorithm;
    CHECK_EQ(bytes.size(), sizeof(algorithm)) << "train.gemm_choices has an algorithm of another length";
    std::memcpy(&algorithm, bytes.data(), sizeof(algorithm));
    ProductOf(problem.spec, problem.alignment).Use(algorithm);
  }

 private:
  // The best of some runs, after one that is not counted.
  double Seconds(Product& product, const GemmUse& use) {
    constexpr int kRuns = 5;
    double best = HUGE_VAL;
    for (int run = 0; run <= kRuns; ++run) {
      GPU_CHECK(cudaEventRecord(begin_, stream_));
      product.Run(use.a, use.b, use.bias, use.c, use.problem.spec.accumulate ? 1.0f : 0.0f, use.workspace,
                  stream_);
      GPU_CHECK(cudaEventRecord(end_, stream_));
      GPU_CHECK(cudaEventSynchronize(end_));
      float milliseconds = 0;
      GPU_CHECK(cudaEventElapsedTime(&milliseconds, begin_, end_));
      if (run > 0) best = std::min(best, milliseconds * 1e-3);
    }
    return best;
  }

  const cudaStream_t stream_;
  std::string version_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace

void CudaGemm(const GemmSpec& spec, const void* a, const void* b, const void* bias, void* c, void* workspace,
              void* stream) {
  if (spec.m == 0 || spec.n == 0) return;
  CHECK_GT(spec.k, 0) << "a product over nothing";
  ProductOf(spec, GemmAlignment(a, b, c))
      .Run(a, b, bias, c, spec.accumulate ? 1.0f : 0.0f, workspace, static_cast<cudaStream_t>(stream));
}

std::unique_ptr<GemmLibrary> OpenCudaGemmLibrary(Device& device) {
  return std::make_unique<CublasLtLibrary>(device);
}

}  // namespace trireme
