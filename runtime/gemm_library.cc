#include "runtime/gemm_library.h"

#include "absl/strings/str_cat.h"
#include "runtime/passes/memory_plan.h"

namespace trireme {
namespace {

std::string OperandText(int64_t rows, int64_t cols, bool transposed, int64_t stride) {
  return absl::StrCat("[", transposed ? cols : rows, ", ", transposed ? rows : cols, "]",
                      stride > 0 ? absl::StrCat(" by ", stride) : "", transposed ? "^T" : "");
}

}  // namespace

std::string GemmProblem::ToString() const {
  return absl::StrCat(Name(spec.input), " -> ", Name(spec.output), ", A ",
                      OperandText(spec.m, spec.k, spec.transpose_a, spec.row_stride_a), ", B ",
                      OperandText(spec.k, spec.n, spec.transpose_b, spec.row_stride_b),
                      spec.row_stride_c > 0 ? absl::StrCat(", C by ", spec.row_stride_c) : "",
                      spec.bias ? ", bias" : "", spec.accumulate ? ", added" : "", ", aligned to ",
                      alignment);
}

uint32_t GemmAlignment(const void* a, const void* b, const void* c) {
  uintptr_t bits = kMemoryAlignment;
  for (const void* address : {a, b, c}) bits |= reinterpret_cast<uintptr_t>(address);
  return static_cast<uint32_t>(bits & (~bits + 1));
}

std::optional<GemmUse> GemmOf(const KernelArguments& a) {
  GemmUse use;
  switch (a.op.kind) {
    case OpKind::kLinear:
      use.problem.spec = LinearSpec(a.inputs, a.outputs, a.num_threads);
      if (use.problem.spec.bias) use.bias = a.inputs[2].data;
      break;
    case OpKind::kLinearInputGrad:
      use.problem.spec = LinearInputGradSpec(a.inputs, a.outputs, a.num_threads);
      break;
    case OpKind::kLinearWeightGrad:
      use.problem.spec = LinearWeightGradSpec(a.inputs, a.accumulate, a.num_threads);
      break;
    default:
      return std::nullopt;
  }
  const GemmSpec& spec = use.problem.spec;
  if (spec.m == 0 || spec.n == 0 || spec.k == 0) return std::nullopt;
  use.a = a.inputs[0].data;
  use.b = a.inputs[1].data;
  use.c = a.outputs[0].data;
  use.workspace = a.workspace;
  use.problem.alignment = GemmAlignment(use.a, use.b, use.c);
  return use;
}

}  // namespace trireme
