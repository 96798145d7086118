// The fused products of ops/linear.h: in one kernel of the library where that was found faster (gemm.h), else
// the product and this backend's own kernels.
#include <algorithm>

#include "runtime/cuda/column_sums.h"
#include "runtime/cuda/gemm.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launchers.h"

namespace trireme {
namespace {

void Launch(Kernel kernel, OpKind kind, absl::Span<const View> inputs, const View& output, bool accumulate,
            void* workspace, void* stream) {
  const Op op = {.kind = kind, .attributes = {}};
  kernel({.op = op,
          .inputs = inputs,
          .outputs = {&output, 1},
          .accumulate = accumulate,
          .workspace = workspace,
          .mesh = {},
          .num_threads = 1,
          .stream = stream});
}

View ViewOf(const void* data, DType dtype, Shape shape) {
  return {const_cast<void*>(data), dtype, shape};
}

// op(A) of a weight's gradient as it is stored.
View OutputGradient(const GemmSpec& spec, const void* a) {
  return ViewOf(a, spec.input, {spec.k, spec.m});
}

// In one, or apart; `product` is where the product alone goes.
void RunGelu(const GemmSpec& spec, const GemmOperands& operands, void* product, const KernelArguments& a) {
  if (GPU_BRANCH(epilogue, TakesEpilogue(spec, operands))) {
    CudaGemm(spec, operands, a.workspace, a.stream);
    return;
  }
  GemmOperands alone = operands;
  alone.c = product;
  alone.aux = nullptr;
  CudaGemm(spec.WithoutEpilogue(), alone, a.workspace, a.stream);
  RunEpilogue(spec, operands, false, a.workspace, a.stream);
}

}  // namespace

bool MayAskForEpilogue(const GemmSpec& spec, uint32_t alignment) {
  constexpr int64_t kAuxElements = 8;  // CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD is a multiple of them
  constexpr uint32_t kAlignedBytes = 16;
  if (spec.epilogue == GemmEpilogue::kNone) return true;
  // Runs are compared in f32, and nothing documented says how exact the library's epilogues are there.
  if (spec.epilogue == GemmEpilogue::kBiasGrad) return spec.input == DType::kBF16;
  return spec.output == DType::kBF16 && spec.n % kAuxElements == 0 && alignment >= kAlignedBytes;
}

int64_t EpilogueWorkspaceBytes(const GemmSpec& spec) {
  if (spec.epilogue != GemmEpilogue::kBiasGrad) return 0;
  const View dy = OutputGradient(spec, nullptr);
  return ColumnSumCudaWorkspaceBytes({}, {&dy, 1}, {}, 1);
}

void RunEpilogue(const GemmSpec& spec, const GemmOperands& o, bool adds_bias_gradient, void* workspace,
                 void* stream) {
  const View c = ViewOf(o.c, spec.output, {spec.m, spec.n});
  const View aux = ViewOf(o.aux, spec.output, c.shape);
  switch (spec.epilogue) {
    case GemmEpilogue::kNone:
      return;
    case GemmEpilogue::kGelu:
      return Launch(GeluCuda, OpKind::kGelu, {&c, 1}, c, false, nullptr, stream);
    case GemmEpilogue::kGeluKept:
      return Launch(GeluCuda, OpKind::kGelu, {&aux, 1}, c, false, nullptr, stream);
    case GemmEpilogue::kGeluGrad: {
      const View inputs[] = {c, aux};
      return Launch(GeluGradCuda, OpKind::kGeluGrad, inputs, c, false, nullptr, stream);
    }
    case GemmEpilogue::kBiasGrad: {
      const View dy = OutputGradient(spec, o.a);
      const View bias = ViewOf(o.bias, DType::kF32, {spec.m});
      return Launch(ColumnSumCuda, OpKind::kColumnSum, {&dy, 1}, bias, adds_bias_gradient, workspace, stream);
    }
  }
}

void LinearGeluCuda(const KernelArguments& a) {
  const GemmSpec spec = LinearGeluSpec(a.inputs, a.outputs, a.num_threads);
  void* const product = a.outputs.back().data;
  const GemmOperands operands = {.a = a.inputs[0].data,
                                 .b = a.inputs[1].data,
                                 .c = a.outputs[0].data,
                                 .bias = BiasForLibrary(a),
                                 .aux = a.outputs.size() > 1 ? product : nullptr};
  RunGelu(spec, operands, product, a);
}

void LinearInputGeluGradCuda(const KernelArguments& a) {
  const GemmSpec spec = LinearInputGeluGradSpec(a.inputs, a.outputs, a.num_threads);
  RunGelu(spec,
          {.a = a.inputs[0].data, .b = a.inputs[1].data, .c = a.outputs[0].data, .aux = a.inputs[2].data},
          a.outputs[0].data, a);
}

int64_t LinearInputGeluGradCudaWorkspaceBytes(const Op&, absl::Span<const View>, absl::Span<const View>,
                                              int) {
  return kCudaGemmWorkspaceBytes;
}

// The library overwrites a bias gradient, whatever it does to C: so it is delivered from behind the
// workspace.
void LinearWeightBiasGradCuda(const KernelArguments& a) {
  const GemmSpec spec = LinearWeightBiasGradSpec(a.inputs, a.accumulates(0), a.num_threads);
  GemmOperands operands = {.a = a.inputs[0].data, .b = a.inputs[1].data, .c = a.outputs[0].data};
  float* const gradient = a.outputs[1].as<float>();
  if (GPU_BRANCH(epilogue, TakesEpilogue(spec, operands))) {
    auto* const made = reinterpret_cast<float*>(static_cast<char*>(a.workspace) + kCudaGemmWorkspaceBytes);
    operands.bias = made;
    CudaGemm(spec, operands, a.workspace, a.stream);
    AddPartialSums(made, 1, spec.m, spec.m, a.accumulates(1), gradient, a.stream);
    return;
  }
  CudaGemm(spec.WithoutEpilogue(), operands, a.workspace, a.stream);
  operands.bias = gradient;
  RunEpilogue(spec, operands, a.accumulates(1), a.workspace, a.stream);
}

int64_t LinearWeightBiasGradCudaWorkspaceBytes(const Op&, absl::Span<const View> inputs,
                                               absl::Span<const View>, int num_threads) {
  const GemmSpec spec = LinearWeightBiasGradSpec(inputs, false, num_threads);
  return std::max(kCudaGemmWorkspaceBytes + spec.m * SizeOf(DType::kF32), EpilogueWorkspaceBytes(spec));
}

}  // namespace trireme
