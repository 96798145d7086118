// The products of runtime/cuda/gemm.h by plain loops: cuBLASLt has no emulation. As a library it proposes two
// algorithms: sums in double, and in float.
#include <glog/logging.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cuda/gemm.h"
#include "runtime/cuda_backend.h"
#include "tests/emulator/streams.h"

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

const char kWide[] = "wide";
const char kNarrow[] = "narrow";

void Multiply(const GemmSpec& spec, bool narrow, const void* a, const void* b, const void* bias, void* c) {
  const int64_t stride_c = spec.row_stride_c > 0 ? spec.row_stride_c : spec.n;
  for (int64_t i = 0; i < spec.m; ++i) {
    for (int64_t j = 0; j < spec.n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < spec.k; ++l) {
        sum +=
            At(a, spec.input, spec.transpose_a, spec.transpose_a ? spec.m : spec.k, spec.row_stride_a, i, l) *
            At(b, spec.input, spec.transpose_b, spec.transpose_b ? spec.k : spec.n, spec.row_stride_b, l, j);
        if (narrow) sum = static_cast<float>(sum);
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

// Of this thread, as cuBLASLt's: the algorithm of each problem that one was chosen for.
std::map<std::string, std::string>& Chosen() {
  thread_local std::map<std::string, std::string> chosen;
  return chosen;
}

class EmulatedGemmLibrary : public GemmLibrary {
 public:
  std::string version() const override { return "emulated GPU, plain loops"; }
  std::vector<GemmCandidate> Time(const GemmUse& use) override {
    const GemmSpec& spec = use.problem.spec;
    std::memset(use.a, 0, spec.m * spec.k * SizeOf(spec.input));
    std::memset(use.b, 0, spec.k * spec.n * SizeOf(spec.input));
    std::memset(use.c, 0, spec.m * spec.n * SizeOf(spec.output));
    std::memset(use.workspace, 0, kCudaGemmWorkspaceBytes);
    return {{kWide, 2e-6}, {kNarrow, 1e-6}};
  }
  void Use(const GemmProblem& problem, const std::string& algorithm) override {
    CHECK(algorithm == kWide || algorithm == kNarrow);
    Chosen()[problem.ToString()] = algorithm;
  }
};

}  // namespace

void CudaGemm(const GemmSpec& spec, const void* a, const void* b, const void* bias, void* c, void* workspace,
              void* stream) {
  CHECK(workspace != nullptr);
  bool narrow = false;
  if (!Chosen().empty()) {
    const auto chosen = Chosen().find(GemmProblem{spec, GemmAlignment(a, b, c)}.ToString());
    narrow = chosen != Chosen().end() && chosen->second == kNarrow;
  }
  emulator::Enqueue(static_cast<cudaStream_t>(stream), "CudaGemm",
                    emulator::BytesOf(spec.m, spec.n, spec.k, spec.accumulate, a, b, bias, c),
                    [spec, narrow, a, b, bias, c] { Multiply(spec, narrow, a, b, bias, c); });
}

std::unique_ptr<GemmLibrary> OpenCudaGemmLibrary(Device&) {
  return std::make_unique<EmulatedGemmLibrary>();
}

}  // namespace trireme
