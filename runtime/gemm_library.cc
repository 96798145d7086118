#include "runtime/gemm_library.h"

#include "absl/strings/str_cat.h"
#include "runtime/passes/memory_plan.h"

namespace trireme {
namespace {

std::string OperandText(int64_t rows, int64_t cols, bool transposed, int64_t stride) {
  return absl::StrCat("[", transposed ? cols : rows, ", ", transposed ? rows : cols, "]",
                      stride > 0 ? absl::StrCat(" by ", stride) : "", transposed ? "^T" : "");
}

const char* EpilogueText(GemmEpilogue epilogue) {
  constexpr const char* kTexts[] = {"", ", GELU", ", GELU kept", ", GELU's gradient", ", bias gradient"};
  return kTexts[static_cast<int>(epilogue)];
}

}  // namespace

std::string GemmProblem::ToString() const {
  return absl::StrCat(Name(spec.input), " -> ", Name(spec.output), ", A ",
                      OperandText(spec.m, spec.k, spec.transpose_a, spec.row_stride_a), ", B ",
                      OperandText(spec.k, spec.n, spec.transpose_b, spec.row_stride_b),
                      spec.row_stride_c > 0 ? absl::StrCat(", C by ", spec.row_stride_c) : "",
                      spec.bias ? ", bias" : "", EpilogueText(spec.epilogue),
                      spec.accumulate ? ", added" : "", ", aligned to ", alignment);
}

uint32_t GemmAlignment(const void* a, const void* b, const void* c, const void* aux) {
  uintptr_t bits = kMemoryAlignment;
  for (const void* address : {a, b, c, aux}) bits |= reinterpret_cast<uintptr_t>(address);
  return static_cast<uint32_t>(bits & (~bits + 1));
}

std::vector<GemmUse> GemmsOf(const KernelArguments& a) {
  GemmUse use;
  GemmSpec& spec = use.problem.spec;
  void* product = a.outputs.empty() ? nullptr : a.outputs[0].data;  // of the product alone
  switch (a.op.kind) {
    case OpKind::kLinear:
      spec = LinearSpec(a.inputs, a.outputs, a.num_threads);
      break;
    case OpKind::kLinearInputGrad:
      spec = LinearInputGradSpec(a.inputs, a.outputs, a.num_threads);
      break;
    case OpKind::kLinearWeightGrad:
      spec = LinearWeightGradSpec(a.inputs, a.accumulate, a.num_threads);
      break;
    case OpKind::kLinearGelu:
      spec = LinearGeluSpec(a.inputs, a.outputs, a.num_threads);
      product = a.outputs.back().data;
      if (a.outputs.size() > 1) use.aux = product;
      break;
    case OpKind::kLinearInputGeluGrad:
      spec = LinearInputGeluGradSpec(a.inputs, a.outputs, a.num_threads);
      use.aux = a.inputs[2].data;
      break;
    case OpKind::kLinearWeightBiasGrad:
      spec = LinearWeightBiasGradSpec(a.inputs, a.accumulates(0), a.num_threads);
      use.bias = a.outputs[1].data;
      break;
    default:
      return {};
  }
  if (spec.m == 0 || spec.n == 0 || spec.k == 0) return {};
  if (spec.bias) use.bias = a.inputs[2].data;
  use.a = a.inputs[0].data;
  use.b = a.inputs[1].data;
  use.c = a.outputs[0].data;
  use.workspace = a.workspace;
  use.problem.alignment = GemmAlignment(use.a, use.b, use.c, use.aux);
  GemmUse alone = use;
  alone.problem.spec = spec.WithoutEpilogue();
  if (!alone.problem.spec.bias) alone.bias = nullptr;
  alone.c = product;
  alone.aux = nullptr;
  alone.problem.alignment = GemmAlignment(alone.a, alone.b, alone.c);
  if (spec.epilogue == GemmEpilogue::kNone) return {alone};
  return {alone, use};
}

}  // namespace trireme
