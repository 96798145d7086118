#include "runtime/gemm_spec.h"

namespace trireme {

GemmSpec LinearSpec(absl::Span<const View> inputs, absl::Span<const View> outputs, int num_threads) {
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

GemmSpec LinearInputGradSpec(absl::Span<const View> inputs, absl::Span<const View> outputs, int num_threads) {
  const View &dy = inputs[0], &w = inputs[1], &dx = outputs[0];
  return {.m = dy.shape.rows(),
          .n = w.shape[1],
          .k = w.shape[0],
          .input = dy.dtype,
          .output = dx.dtype,
          .num_threads = num_threads};
}

GemmSpec LinearWeightGradSpec(absl::Span<const View> inputs, bool accumulate, int num_threads) {
  const View &dy = inputs[0], &x = inputs[1];
  return {.m = dy.shape.cols(),
          .n = x.shape.cols(),
          .k = x.shape.rows(),
          .transpose_a = true,
          .input = dy.dtype,
          .accumulate = accumulate,
          .num_threads = num_threads};
}

GemmSpec LinearGeluSpec(absl::Span<const View> inputs, absl::Span<const View> outputs, int num_threads) {
  GemmSpec spec = LinearSpec(inputs, outputs, num_threads);
  spec.epilogue = outputs.size() > 1 ? GemmEpilogue::kGeluKept : GemmEpilogue::kGelu;
  return spec;
}

GemmSpec LinearInputGeluGradSpec(absl::Span<const View> inputs, absl::Span<const View> outputs,
                                 int num_threads) {
  GemmSpec spec = LinearInputGradSpec(inputs, outputs, num_threads);
  spec.epilogue = GemmEpilogue::kGeluGrad;
  return spec;
}

GemmSpec LinearWeightBiasGradSpec(absl::Span<const View> inputs, bool accumulate, int num_threads) {
  GemmSpec spec = LinearWeightGradSpec(inputs, accumulate, num_threads);
  spec.epilogue = GemmEpilogue::kBiasGrad;
  return spec;
}

}  // namespace trireme
