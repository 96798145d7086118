#include "runtime/cpu/linear.h"

#include <algorithm>

#include "runtime/cpu/gemm.h"

namespace trireme {
namespace {

// y [T, N] = x [T, K] w [N, K]^T + bias [N]
GemmSpec ForwardSpec(absl::Span<const View> inputs, absl::Span<const View> outputs, int num_threads) {
  const View &x = inputs[0], &w = inputs[1], &y = outputs[0];
  return {.m = x.shape.rows(),
          .n = w.shape[0],
          .k = w.shape[1],
          .transpose_b = true,
          .input = x.dtype,
          .output = y.dtype,
          .bias = inputs.size() > 2 && inputs[2].shape.num_dims() > 0,
          .num_threads = num_threads};
}

// dx [T, K] = dy [T, N] w [N, K]
GemmSpec InputGradSpec(absl::Span<const View> inputs, absl::Span<const View> outputs, int num_threads) {
  const View &dy = inputs[0], &w = inputs[1], &dx = outputs[0];
  return {.m = dy.shape.rows(),
          .n = w.shape[1],
          .k = w.shape[0],
          .input = dy.dtype,
          .output = dx.dtype,
          .num_threads = num_threads};
}

// dw [N, K] (+)= dy [T, N]^T x [T, K]
GemmSpec WeightGradSpec(absl::Span<const View> inputs, bool accumulate, int num_threads) {
  const View &dy = inputs[0], &x = inputs[1];
  return {.m = dy.shape.cols(),
          .n = x.shape.cols(),
          .k = x.shape.rows(),
          .transpose_a = true,
          .input = dy.dtype,
          .accumulate = accumulate,
          .num_threads = num_threads};
}

}  // namespace

void LinearFast(const KernelArguments& a) {
  GemmSpec spec = ForwardSpec(a.inputs, a.outputs, a.num_threads);
  Gemm(spec, a.inputs[0].data, a.inputs[1].data, spec.bias ? a.inputs[2].data : nullptr, a.outputs[0].data,
       a.workspace);
}

void LinearInputGradFast(const KernelArguments& a) {
  Gemm(InputGradSpec(a.inputs, a.outputs, a.num_threads), a.inputs[0].data, a.inputs[1].data, nullptr,
       a.outputs[0].data, a.workspace);
}

void LinearWeightGradFast(const KernelArguments& a) {
  Gemm(WeightGradSpec(a.inputs, a.accumulate, a.num_threads), a.inputs[0].data, a.inputs[1].data, nullptr,
       a.outputs[0].data, a.workspace);
}

int64_t LinearFastWorkspaceBytes(const Op&, absl::Span<const View> inputs, absl::Span<const View> outputs,
                                 int num_threads) {
  return GemmWorkspaceBytes(ForwardSpec(inputs, outputs, num_threads));
}

int64_t LinearInputGradFastWorkspaceBytes(const Op&, absl::Span<const View> inputs,
                                          absl::Span<const View> outputs, int num_threads) {
  return GemmWorkspaceBytes(InputGradSpec(inputs, outputs, num_threads));
}

int64_t LinearWeightGradFastWorkspaceBytes(const Op&, absl::Span<const View> inputs, absl::Span<const View>,
                                           int num_threads) {
  return std::max(GemmWorkspaceBytes(WeightGradSpec(inputs, false, num_threads)),
                  GemmWorkspaceBytes(WeightGradSpec(inputs, true, num_threads)));
}

}  // namespace trireme
