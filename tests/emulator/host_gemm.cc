// The products of runtime/cuda/gemm.h and their epilogues by plain loops: cuBLASLt has no emulation. As a
// library it proposes two algorithms: sums in double, and in float; the latter is the faster, also than
// products and kernels apart.
#include <glog/logging.h>

#include <cmath>
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

// GELU's tanh form and its slope (runtime/ops/activation.h).
double Gelu(double x) {
  return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double GeluSlope(double x) {
  const double tanh = std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
  return (1 + tanh + x * (1 - tanh * tanh) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x)) / 2;
}

void Store(double value, DType dtype, int64_t index, void* matrix) {
  if (dtype == DType::kBF16) {
    static_cast<Bf16*>(matrix)[index] = Bf16(static_cast<float>(value));
  } else {
    static_cast<float*>(matrix)[index] = static_cast<float>(value);
  }
}

// What cuBLASLt documents of its epilogues: a bias is added before GELU; GELU is taken of what is not rounded
// yet, and its input is rounded where it is kept (GELU_AUX); its gradient is the product times the slope at
// the input (DGELU), which is rounded once; a bias gradient is the sum of an operand over k, and overwrites
// (BGRADB).
void Multiply(const GemmSpec& spec, bool narrow, const GemmOperands& o) {
  const int64_t stride_c = spec.row_stride_c > 0 ? spec.row_stride_c : spec.n;
  const auto a_at = [&](int64_t i, int64_t l) {
    return At(o.a, spec.input, spec.transpose_a, spec.transpose_a ? spec.m : spec.k, spec.row_stride_a, i, l);
  };
  for (int64_t i = 0; i < spec.m; ++i) {
    for (int64_t j = 0; j < spec.n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < spec.k; ++l) {
        sum += a_at(i, l) * At(o.b, spec.input, spec.transpose_b, spec.transpose_b ? spec.k : spec.n,
                               spec.row_stride_b, l, j);
        if (narrow) sum = static_cast<float>(sum);
      }
      if (spec.bias) sum += At(o.bias, spec.output, false, spec.n, 0, 0, j);
      if (spec.epilogue == GemmEpilogue::kGeluKept) Store(sum, spec.output, i * spec.n + j, o.aux);
      if (spec.epilogue == GemmEpilogue::kGelu || spec.epilogue == GemmEpilogue::kGeluKept) sum = Gelu(sum);
      if (spec.epilogue == GemmEpilogue::kGeluGrad) {
        sum *= GeluSlope(At(o.aux, spec.output, false, spec.n, 0, i, j));
      }
      CHECK(!spec.accumulate || spec.output == DType::kF32);
      if (spec.accumulate) sum += static_cast<const float*>(o.c)[i * stride_c + j];
      Store(sum, spec.output, i * stride_c + j, o.c);
    }
    if (spec.epilogue == GemmEpilogue::kBiasGrad) {
      double sum = 0;
      for (int64_t l = 0; l < spec.k; ++l) sum += a_at(i, l);
      static_cast<float*>(o.bias)[i] = static_cast<float>(sum);
    }
  }
}

// Of this thread, as cuBLASLt's: the algorithm of each problem that one was chosen for.
std::map<std::string, std::string>& Chosen() {
  thread_local std::map<std::string, std::string> chosen;
  return chosen;
}

// "" where nothing was.
std::string ChosenFor(const GemmSpec& spec, const GemmOperands& o) {
  if (Chosen().empty()) return "";
  const auto chosen = Chosen().find(GemmProblem{spec, GemmAlignment(o.a, o.b, o.c, o.aux)}.ToString());
  return chosen == Chosen().end() ? "" : chosen->second;
}

class EmulatedGemmLibrary : public GemmLibrary {
 public:
  std::string version() const override { return "emulated GPU, plain loops"; }
  std::vector<GemmCandidate> Time(const GemmUse& use) override {
    const GemmSpec& spec = use.problem.spec;
    std::memset(use.a, 0, spec.m * spec.k * SizeOf(spec.input));
    std::memset(use.b, 0, spec.k * spec.n * SizeOf(spec.input));
    std::memset(use.c, 0, spec.m * spec.n * SizeOf(spec.output));
    if (use.aux != nullptr) std::memset(use.aux, 0, spec.m * spec.n * SizeOf(spec.output));
    if (spec.epilogue == GemmEpilogue::kBiasGrad) std::memset(use.bias, 0, spec.m * SizeOf(DType::kF32));
    std::memset(use.workspace, 0, kCudaGemmWorkspaceBytes);
    std::vector<GemmCandidate> candidates;
    if (spec.epilogue != GemmEpilogue::kNone) candidates.push_back({"", 3e-6});
    if (!MayAskForEpilogue(spec, use.problem.alignment)) return candidates;
    candidates.push_back({kWide, 2e-6});
    candidates.push_back({kNarrow, 1e-6});
    return candidates;
  }
  void Use(const GemmProblem& problem, const std::string& algorithm) override {
    const bool apart = problem.spec.epilogue != GemmEpilogue::kNone && algorithm.empty();
    CHECK(apart || algorithm == kWide || algorithm == kNarrow);
    CHECK(apart || MayAskForEpilogue(problem.spec, problem.alignment)) << problem.ToString();
    Chosen()[problem.ToString()] = algorithm;
  }
};

}  // namespace

void CudaGemm(const GemmSpec& spec, const GemmOperands& o, void* workspace, void* stream) {
  CHECK(workspace != nullptr);
  CHECK(spec.epilogue == GemmEpilogue::kNone || TakesEpilogue(spec, o));
  const bool narrow = ChosenFor(spec, o) == kNarrow;
  emulator::Enqueue(
      static_cast<cudaStream_t>(stream), "CudaGemm",
      emulator::BytesOf(spec.m, spec.n, spec.k, spec.accumulate, spec.epilogue, o.a, o.b, o.bias, o.c, o.aux),
      [spec, narrow, o] { Multiply(spec, narrow, o); });
}

bool TakesEpilogue(const GemmSpec& spec, const GemmOperands& operands) {
  return !ChosenFor(spec, operands).empty();
}

std::unique_ptr<GemmLibrary> OpenCudaGemmLibrary(Device&) {
  return std::make_unique<EmulatedGemmLibrary>();
}

}  // namespace trireme
