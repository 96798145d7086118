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
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "runtime/cuda/check.h"
#include "runtime/cuda/column_sums.h"
#include "runtime/cuda/gemm.h"
#include "runtime/cuda_backend.h"
#include "runtime/passes/memory_plan.h"

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

cublasLtEpilogue_t EpilogueOf(const GemmSpec& spec) {
  switch (spec.epilogue) {
    case GemmEpilogue::kNone:
      break;
    case GemmEpilogue::kGelu:
      return spec.bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    case GemmEpilogue::kGeluKept:
      return spec.bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    case GemmEpilogue::kGeluGrad:
      return CUBLASLT_EPILOGUE_DGELU;
    case GemmEpilogue::kBiasGrad:
      return CUBLASLT_EPILOGUE_BGRADB;  // cuBLASLt's B is our A
  }
  return spec.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

// An address that nobody reads, for questions whose answer depends on the alignment of one.
const void* AddressAlignedTo(uint32_t bytes) {
  return reinterpret_cast<const void*>(uintptr_t{bytes});
}

// What one spec needs for a call; made once.
class Product {
 public:
  Product(cublasLtHandle_t handle, const GemmSpec& spec, uint32_t alignment)
      : handle_(handle), spec_(spec), alignment_(alignment) {
    CUBLAS_CHECK(cublasLtMatmulDescCreate(&desc_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    // cuBLASLt's A is our B.
    Set(desc_, CUBLASLT_MATMUL_DESC_TRANSA, spec.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    Set(desc_, CUBLASLT_MATMUL_DESC_TRANSB, spec.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    Set(desc_, CUBLASLT_MATMUL_DESC_EPILOGUE, EpilogueOf(spec));
    if (spec.bias || spec.epilogue == GemmEpilogue::kBiasGrad) {
      Set(desc_, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, TypeOf(spec.output));
    }
    if (spec.epilogue == GemmEpilogue::kGeluKept || spec.epilogue == GemmEpilogue::kGeluGrad) {
      Set(desc_, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, spec.n);
      Set(desc_, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, AddressAlignedTo(alignment));
    }
    b_ = spec.transpose_b ? Layout(spec.input, spec.n, spec.k, spec.row_stride_b)
                          : Layout(spec.input, spec.k, spec.n, spec.row_stride_b);
    a_ = spec.transpose_a ? Layout(spec.input, spec.k, spec.m, spec.row_stride_a)
                          : Layout(spec.input, spec.m, spec.k, spec.row_stride_a);
    c_ = Layout(spec.output, spec.m, spec.n, spec.row_stride_c);
    // One with an epilogue is told its algorithm, or is not run.
    if (spec.epilogue != GemmEpilogue::kNone) {
      // A bias for it, or its gradient, lies in the workspace.
      Set(desc_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, AddressAlignedTo(kMemoryAlignment));
      return;
    }
    const std::vector<Algorithm> favourite = Proposals(1);
    CHECK(!favourite.empty()) << "cuBLASLt has no algorithm for " << Text();
    algorithm_ = favourite.front().algorithm;
  }

  ~Product() {
    cublasLtMatrixLayoutDestroy(a_);
    cublasLtMatrixLayoutDestroy(b_);
    cublasLtMatrixLayoutDestroy(c_);
    cublasLtMatmulDescDestroy(desc_);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  cublasStatus_t Run(const GemmOperands& o, void* workspace, cudaStream_t stream) {
    if (o.bias != nullptr) Set(desc_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, o.bias);
    if (o.aux != nullptr) Set(desc_, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, o.aux);
    const float alpha = 1;
    const float beta = spec_.accumulate ? 1.0f : 0.0f;
    return cublasLtMatmul(handle_, desc_, &alpha, o.b, b_, o.a, a_, &beta, o.c, c_, o.c, c_, &algorithm_,
                          workspace, kCudaGemmWorkspaceBytes, stream);
  }

  // At most `most` of the algorithms that the library proposes, its favourite first: a function of the
  // product, the card and the library's version. Sums between the parts of a split k stay in fp32; in the
  // output's dtype they would be rounded to bf16. None where it does not do such a product.
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
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle_, desc_, b_, a_, c_, c_, preference,
                                                                 most, proposals, &num_proposals);
    CUBLAS_CHECK(cublasLtMatmulPreferenceDestroy(preference));
    std::vector<Algorithm> algorithms;
    if (status != CUBLAS_STATUS_SUCCESS) return algorithms;
    for (int i = 0; i < num_proposals; ++i) {
      if (proposals[i].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back({proposals[i].algo});
    }
    return algorithms;
  }

  // Asked of the library, which may not know what an older file of another card says.
  bool Takes(const cublasLtMatmulAlgo_t& algorithm) const {
    cublasLtMatmulHeuristicResult_t checked;
    return cublasLtMatmulAlgoCheck(handle_, desc_, b_, a_, c_, c_, &algorithm, &checked) ==
               CUBLAS_STATUS_SUCCESS &&
           checked.workspaceSize <= kCudaGemmWorkspaceBytes;
  }

  void Use(const cublasLtMatmulAlgo_t& algorithm) {
    CHECK(Takes(algorithm)) << "cuBLASLt does not take an algorithm that train.gemm_choices has for "
                            << Text() << "; remove the file";
    algorithm_ = algorithm;
  }

 private:
  std::string Text() const { return GemmProblem{spec_, alignment_}.ToString(); }

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
  absl::flat_hash_set<std::pair<GemmSpec, uint32_t>> epilogues;  // that are done in one with the product
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

// Random numbers of +-[0.5, 1) 2^-halvings as bf16 and, a pair each, as f32: products of zeros are faster
// than others. Operands have other seeds, so that they know nothing of each other.
void FillWithNumbers(void* data, int64_t bytes, unsigned seed, int halvings, cudaStream_t stream) {
  constexpr int64_t kBytes = 1 << 20;
  std::vector<uint16_t> numbers(kBytes / sizeof(uint16_t));
  std::minstd_rand random(seed);
  const unsigned half = 0x3f00u - (static_cast<unsigned>(halvings) << 7);
  for (uint16_t& number : numbers) number = static_cast<uint16_t>(half | (random() >> 8 & 0x807f));
  for (int64_t begin = 0; begin < bytes; begin += kBytes) {
    GPU_CHECK(cudaMemcpyAsync(static_cast<char*>(data) + begin, numbers.data(),
                              std::min(kBytes, bytes - begin), cudaMemcpyHostToDevice, stream));
  }
  GPU_CHECK(cudaStreamSynchronize(stream));
}

GemmOperands OperandsOf(const GemmUse& use) {
  return {.a = use.a, .b = use.b, .c = use.c, .bias = use.bias, .aux = use.aux};
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
    const int64_t c_bytes = spec.m * spec.n * SizeOf(spec.output);
    const int64_t bias_bytes = spec.bias ? spec.n * SizeOf(spec.output) : 0;
    // By 1 / sqrt(k), so that the product is about one, where GELU is neither its input nor zero.
    const int halvings = static_cast<int>(std::lround(0.5 * std::log2(static_cast<double>(spec.k))));
    FillWithNumbers(use.a, a_bytes, 1, 0, stream_);
    FillWithNumbers(use.b, b_bytes, 2, halvings, stream_);
    FillWithNumbers(use.bias, bias_bytes, 3, 0, stream_);
    if (use.aux != nullptr) FillWithNumbers(use.aux, c_bytes, 4, 0, stream_);
    const std::vector<GemmCandidate> candidates =
        spec.epilogue == GemmEpilogue::kNone ? TimeProduct(use) : TimeEpilogue(use);
    Clear(use.a, a_bytes);
    Clear(use.b, b_bytes);
    if (spec.bias) Clear(use.bias, bias_bytes);
    ClearResults(use);
    if (use.aux != nullptr) Clear(use.aux, c_bytes);
    Clear(use.workspace, kCudaGemmWorkspaceBytes);
    GPU_CHECK(cudaStreamSynchronize(stream_));
    return candidates;
  }

  void Use(const GemmProblem& problem, const std::string& bytes) override {
    if (problem.spec.epilogue != GemmEpilogue::kNone) {
      ThisThreads().epilogues.erase({problem.spec, problem.alignment});
      if (bytes.empty()) return;
      ThisThreads().epilogues.insert({problem.spec, problem.alignment});
    }
    cublasLtMatmulAlgo_t algorithm;
    CHECK_EQ(bytes.size(), sizeof(algorithm)) << "train.gemm_choices has an algorithm of another length";
    std::memcpy(&algorithm, bytes.data(), sizeof(algorithm));
    ProductOf(problem.spec, problem.alignment).Use(algorithm);
  }

 private:
  void Clear(void* data, int64_t bytes) const { GPU_CHECK(cudaMemsetAsync(data, 0, bytes, stream_)); }
  // C, and what an epilogue writes besides.
  void ClearResults(const GemmUse& use) const {
    const GemmSpec& spec = use.problem.spec;
    const int64_t c_bytes = spec.m * spec.n * SizeOf(spec.output);
    Clear(use.c, c_bytes);
    if (spec.epilogue == GemmEpilogue::kGeluKept) Clear(use.aux, c_bytes);
    if (spec.epilogue == GemmEpilogue::kBiasGrad) Clear(use.bias, spec.m * SizeOf(DType::kF32));
  }

  // The product alone, by each algorithm that the library proposes.
  std::vector<GemmCandidate> TimeProduct(const GemmUse& use) {
    Product& product = ProductOf(use.problem.spec, use.problem.alignment);
    std::vector<GemmCandidate> candidates;
    for (const Algorithm& proposal : product.Proposals(kMostProposals)) {
      product.Use(proposal.algorithm);
      candidates.push_back({proposal.Bytes(), Seconds([&] {
                              CUBLAS_CHECK(product.Run(OperandsOf(use), use.workspace, stream_));
                            })});
    }
    return candidates;
  }

  // The fastest product alone and our own kernels behind it; and in one, by each algorithm that the library
  // proposes, if it proposes any, runs it and gets what the kernels get.
  std::vector<GemmCandidate> TimeEpilogue(const GemmUse& use) {
    const GemmSpec& spec = use.problem.spec;
    GemmUse alone = use;
    if (spec.epilogue == GemmEpilogue::kGeluKept) alone.c = use.aux;
    if (!spec.bias) alone.bias = nullptr;
    alone.aux = nullptr;
    alone.problem = {spec.WithoutEpilogue(), GemmAlignment(alone.a, alone.b, alone.c)};
    const std::vector<GemmCandidate> products = TimeProduct(alone);
    const auto fastest = std::min_element(
        products.begin(), products.end(),
        [](const GemmCandidate& x, const GemmCandidate& y) { return x.seconds < y.seconds; });
    Use(alone.problem, fastest->algorithm);
    Product& product = ProductOf(alone.problem.spec, alone.problem.alignment);
    const auto apart = [&] {
      CUBLAS_CHECK(product.Run(OperandsOf(alone), use.workspace, stream_));
      RunEpilogue(spec, OperandsOf(use), false, use.workspace, stream_);
    };
    std::vector<GemmCandidate> candidates = {{"", Seconds(apart)}};
    if (!MayAskForEpilogue(spec, use.problem.alignment)) return candidates;
    const std::vector<float> wanted = ResultsOf(use, apart);
    Product& whole = ProductOf(spec, use.problem.alignment);
    for (const Algorithm& proposal : whole.Proposals(kMostProposals)) {
      if (!whole.Takes(proposal.algorithm)) continue;
      whole.Use(proposal.algorithm);
      cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
      const auto in_one = [&] {
        if (status == CUBLAS_STATUS_SUCCESS) status = whole.Run(OperandsOf(use), use.workspace, stream_);
      };
      const std::vector<float> results = ResultsOf(use, in_one);
      if (status != CUBLAS_STATUS_SUCCESS) continue;
      if (!AreClose(results, wanted, spec.output)) {
        LOG(WARNING) << "cuBLASLt's " << use.problem.ToString()
                     << ": differs from the kernels apart, and is not used";
        continue;
      }
      const double seconds = Seconds([&] {
        in_one();
        if (spec.epilogue == GemmEpilogue::kBiasGrad) Deliver(use);
      });
      if (status == CUBLAS_STATUS_SUCCESS) candidates.push_back({proposal.Bytes(), seconds});
    }
    return candidates;
  }

  // As a bias gradient is from where the library put it.
  void Deliver(const GemmUse& use) const {
    auto* const gradient = static_cast<float*>(use.bias);
    AddPartialSums(gradient, 1, use.problem.spec.m, use.problem.spec.m, false, gradient, stream_);
  }

  // The begin and the end of each result that `run` writes.
  template <typename Run>
  std::vector<float> ResultsOf(const GemmUse& use, Run run) {
    const GemmSpec& spec = use.problem.spec;
    ClearResults(use);
    run();
    std::vector<float> results;
    const int64_t elements = spec.m * spec.n;
    Append(use.c, spec.output, elements, &results);
    if (spec.epilogue == GemmEpilogue::kGeluKept) Append(use.aux, spec.output, elements, &results);
    if (spec.epilogue == GemmEpilogue::kBiasGrad) Append(use.bias, DType::kF32, spec.m, &results);
    return results;
  }
  void Append(const void* data, DType dtype, int64_t elements, std::vector<float>* results) const {
    constexpr int64_t kMost = 1 << 17;
    const int64_t count = std::min(elements, kMost);
    std::vector<char> bytes(count * SizeOf(dtype));
    for (const int64_t begin : {int64_t{0}, elements - count}) {
      GPU_CHECK(cudaMemcpyAsync(bytes.data(), static_cast<const char*>(data) + begin * SizeOf(dtype),
                                bytes.size(), cudaMemcpyDeviceToHost, stream_));
      GPU_CHECK(cudaStreamSynchronize(stream_));
      for (int64_t i = 0; i < count; ++i) {
        results->push_back(dtype == DType::kBF16
                               ? static_cast<float>(reinterpret_cast<Bf16*>(bytes.data())[i])
                               : reinterpret_cast<float*>(bytes.data())[i]);
      }
    }
  }

  // Four units of bf16's last place, of an element or of all; of f32, what another order of a sum makes. A
  // NaN is not close.
  static bool AreClose(const std::vector<float>& a, const std::vector<float>& b, DType stored) {
    const double tolerance = stored == DType::kBF16 ? 1.0 / 64 : 1e-4;
    double squares = 0;
    for (const float v : b) squares += static_cast<double>(v) * v;
    const double scale = std::sqrt(squares / static_cast<double>(b.size()));
    for (size_t i = 0; i < b.size(); ++i) {
      if (!(std::abs(a[i] - b[i]) <= tolerance * (std::abs(b[i]) + scale))) return false;
    }
    return true;
  }

  // The best of some runs, after one that is not counted.
  template <typename Run>
  double Seconds(Run run) {
    constexpr int kRuns = 5;
    double best = HUGE_VAL;
    for (int i = 0; i <= kRuns; ++i) {
      GPU_CHECK(cudaEventRecord(begin_, stream_));
      run();
      GPU_CHECK(cudaEventRecord(end_, stream_));
      GPU_CHECK(cudaEventSynchronize(end_));
      float milliseconds = 0;
      GPU_CHECK(cudaEventElapsedTime(&milliseconds, begin_, end_));
      if (i > 0) best = std::min(best, milliseconds * 1e-3);
    }
    return best;
  }

  const cudaStream_t stream_;
  std::string version_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace

void CudaGemm(const GemmSpec& spec, const GemmOperands& o, void* workspace, void* stream) {
  if (spec.m == 0 || spec.n == 0) return;
  CHECK_GT(spec.k, 0) << "a product over nothing";
  CHECK(spec.epilogue == GemmEpilogue::kNone || TakesEpilogue(spec, o));
  CUBLAS_CHECK(ProductOf(spec, GemmAlignment(o.a, o.b, o.c, o.aux))
                   .Run(o, workspace, static_cast<cudaStream_t>(stream)));
}

bool TakesEpilogue(const GemmSpec& spec, const GemmOperands& o) {
  return ThisThreads().epilogues.contains({spec, GemmAlignment(o.a, o.b, o.c, o.aux)});
}

std::unique_ptr<GemmLibrary> OpenCudaGemmLibrary(Device& device) {
  return std::make_unique<CublasLtLibrary>(device);
}

}  // namespace trireme
