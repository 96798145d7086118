// Cases of the update: norms, factors and AdamW.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/cpu/kernel_cases.h"
#include "runtime/ops/optimizer.h"
#include "runtime/rounding.h"

namespace trireme {

KernelCase SquaredNormCase(int64_t n) {
  return NewCase(OpKind::kSquaredNorm, {}, {RandomOperand(Role::kWide, {n}, 1)}, {{Role::kF64, {1}}});
}

KernelCase StepFactorsCase(double squared_norm) {
  return NewCase(OpKind::kStepFactors, {{"beta1", 0.9}, {"beta2", 0.95}, {"clip_norm", 1.0}},
                 {{Role::kF64, {1}, {squared_norm}},
                  {Role::kF64, {kNumStepInputs}, {3e-4, 1024}},
                  {Role::kF64, {1}, {41}}},
                 {{Role::kF64, {kNumStepFactors}}, {Role::kF64, {1}, 2}});
}

KernelCase AdamWCase(int64_t n, bool apply) {
  Operand v = RandomOperand(Role::kWide, {n}, 4, 0.1);
  for (double& second : v.values) second = std::abs(second);
  // Powers of two where they are rounded to f32: the definition sees the same.
  const std::vector<double> factors = {0.25, 0x1p-10, 0.125, 0.0625, apply ? 1.0 : 0.0, 3};
  KernelCase c = NewCase(OpKind::kAdamW,
                         {{"beta1", 0.875}, {"beta2", 0.9375}, {"epsilon", 0x1p-20}, {"weight_decay", 0.125}},
                         {RandomOperand(Role::kWide, {n}, 1),
                          RandomOperand(Role::kWide, {n}, 2),
                          RandomOperand(Role::kWide, {n}, 3, 0.1),
                          v,
                          {Role::kF64, {kNumStepFactors}, factors}},
                         {{Role::kWide, {n}, 1}, {Role::kWide, {n}, 2}, {Role::kWide, {n}, 3}});
  absl::StrAppend(&c.name, apply ? "" : "_skipped");
  return c;
}

KernelCase RoundedAdamWCase(int64_t n, bool exact) {
  KernelCase c = AdamWCase(n, true);
  c.inputs[1].role = c.outputs[0].role = Role::kCompute;
  // p is multiplied by 1 - rate * decay alone, and the gradient is none.
  if (exact) {
    c.inputs[4].values[kFactorLearningRate] = 0x1p-7;
    for (int i : {0, 2}) c.inputs[i].values.assign(n, 0);
  }
  const int64_t a = n / 3, b = n / 2;
  const std::vector<double> places = {
      // offset, cols, first, width, key: whole rows, then columns of rows, then the middle of a row
      0,       1000, 0, 1000, 12345, static_cast<double>(a), 9, 7, 21, 99, static_cast<double>(b),
      1 << 20, 3,    0, 99};
  c.inputs.push_back({Role::kI64, {3, kNumRoundingPlaceFields}, places});
  c.inputs.push_back({Role::kF64, {1}, {42}});
  absl::StrAppend(&c.name, "_rounded", exact ? "_exact" : "");
  return c;
}

}  // namespace trireme
