// Dense products of ops/linear.h: what they ask of the library (gemm.h).
#include "runtime/cuda/gemm.h"
#include "runtime/cuda/launchers.h"

namespace trireme {

// cuBLASLt adds a bias of the output's dtype; ours is fp32, so beside bf16 it is rounded first.
void* BiasForLibrary(const KernelArguments& a) {
  const GemmSpec spec = LinearSpec(a.inputs, a.outputs, a.num_threads);
  if (!spec.bias) return nullptr;
  if (spec.output != DType::kBF16) return a.inputs[2].data;
  const View rounded = {static_cast<char*>(a.workspace) + kCudaGemmWorkspaceBytes, spec.output,
                        a.inputs[2].shape};
  const Op cast = {.kind = OpKind::kCast, .attributes = {}};
  CastCuda({.op = cast,
            .inputs = {&a.inputs[2], 1},
            .outputs = {&rounded, 1},
            .accumulate = false,
            .workspace = nullptr,
            .mesh = a.mesh,
            .coordinate = a.coordinate,
            .num_threads = a.num_threads,
            .stream = a.stream});
  return rounded.data;
}

void LinearCuda(const KernelArguments& a) {
  CudaGemm(LinearSpec(a.inputs, a.outputs, a.num_threads),
           {.a = a.inputs[0].data, .b = a.inputs[1].data, .c = a.outputs[0].data, .bias = BiasForLibrary(a)},
           a.workspace, a.stream);
}

void LinearInputGradCuda(const KernelArguments& a) {
  CudaGemm(LinearInputGradSpec(a.inputs, a.outputs, a.num_threads),
           {.a = a.inputs[0].data, .b = a.inputs[1].data, .c = a.outputs[0].data}, a.workspace, a.stream);
}

void LinearWeightGradCuda(const KernelArguments& a) {
  CudaGemm(LinearWeightGradSpec(a.inputs, a.accumulate, a.num_threads),
           {.a = a.inputs[0].data, .b = a.inputs[1].data, .c = a.outputs[0].data}, a.workspace, a.stream);
}

int64_t LinearCudaWorkspaceBytes(const Op&, absl::Span<const View> inputs, absl::Span<const View> outputs,
                                 int) {
  const bool has_bias = inputs.size() > 2 && inputs[2].shape.num_dims() > 0;
  if (!has_bias || outputs[0].dtype != DType::kBF16) return kCudaGemmWorkspaceBytes;
  return kCudaGemmWorkspaceBytes + inputs[2].shape.num_elements() * SizeOf(DType::kBF16);
}

}  // namespace trireme
