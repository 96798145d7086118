#include <algorithm>
#include <cmath>

#include "runtime/cpu/kernel_cases.h"

namespace trireme {

KernelCase RmsNormCase(int64_t t, int64_t d) {
  return NewCase(OpKind::kRmsNorm, {{"eps", 1e-5}},
                 {RandomOperand(Role::kCompute, {t, d}, 1), RandomOperand(Role::kWide, {d}, 2)},
                 {{Role::kCompute, {t, d}}, {Role::kWide, {t}}});
}

KernelCase RmsNormGradCase(int64_t t, int64_t d) {
  const KernelCase forward = RmsNormCase(t, d);
  return NewCase(
      OpKind::kRmsNormGrad, forward.attributes,
      {RandomOperand(Role::kCompute, {t, d}, 3), forward.inputs[0], forward.inputs[1], Saved(forward, 1)},
      {{Role::kCompute, {t, d}}, {Role::kWide, {d}}});
}

KernelCase LayerNormCase(int64_t t, int64_t d) {
  KernelCase c = NewCase(OpKind::kLayerNorm, {{"eps", 1e-5}},
                         {RandomOperand(Role::kCompute, {t, d}, 1), RandomOperand(Role::kWide, {d}, 2),
                          RandomOperand(Role::kWide, {d}, 3)},
                         {{Role::kCompute, {t, d}}, {Role::kWide, {t, 2}}});
  // A mean that is large beside the deviation.
  for (double& v : c.inputs[0].values) v += 10;
  return c;
}

KernelCase LayerNormGradCase(int64_t t, int64_t d) {
  const KernelCase forward = LayerNormCase(t, d);
  return NewCase(
      OpKind::kLayerNormGrad, forward.attributes,
      {RandomOperand(Role::kCompute, {t, d}, 4), forward.inputs[0], forward.inputs[1], Saved(forward, 1)},
      {{Role::kCompute, {t, d}}, {Role::kWide, {d}}, {Role::kWide, {d}}});
}

namespace {

// The stream and what is added to it: sixteenths below 16, whose sum is the same number in every dtype.
KernelCase WithAddition(KernelCase c, OpKind kind) {
  const auto sixteenths = [](double v) { return std::clamp(std::round(16 * v), -255.0, 255.0) / 16; };
  Operand& stream = c.inputs[0];
  Operand branch = RandomOperand(Role::kCompute, stream.shape, 7);
  for (size_t i = 0; i < branch.values.size(); ++i) {
    const double sum = sixteenths(stream.values[i]);
    stream.values[i] = sixteenths(sum - branch.values[i]);
    branch.values[i] = sum - stream.values[i];
  }
  c.inputs.insert(c.inputs.begin() + 1, branch);
  c.outputs.insert(c.outputs.begin(), c.outputs[0]);
  return NewCase(kind, c.attributes, c.inputs, c.outputs);
}

KernelCase WithStreamGradient(KernelCase c, OpKind kind) {
  c.inputs.push_back(RandomOperand(Role::kCompute, c.inputs[0].shape, 8));
  return NewCase(kind, c.attributes, c.inputs, c.outputs);
}

}  // namespace

KernelCase AddRmsNormCase(int64_t t, int64_t d) {
  return WithAddition(RmsNormCase(t, d), OpKind::kAddRmsNorm);
}

KernelCase AddRmsNormGradCase(int64_t t, int64_t d) {
  return WithStreamGradient(RmsNormGradCase(t, d), OpKind::kAddRmsNormGrad);
}

KernelCase AddLayerNormCase(int64_t t, int64_t d) {
  return WithAddition(LayerNormCase(t, d), OpKind::kAddLayerNorm);
}

KernelCase AddLayerNormGradCase(int64_t t, int64_t d) {
  return WithStreamGradient(LayerNormGradCase(t, d), OpKind::kAddLayerNormGrad);
}

}  // namespace trireme
