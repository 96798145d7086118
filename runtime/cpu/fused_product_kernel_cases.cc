#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/cpu/kernel_cases.h"

namespace trireme {
namespace {

// Numbers whose sum of `terms` products with normal ones is about normal: where GELU bends.
Operand Factors(Shape shape, int seed, int64_t terms) {
  return RandomOperand(Role::kCompute, shape, seed, 1 / std::sqrt(static_cast<double>(terms)));
}

}  // namespace

KernelCase LinearGeluCase(int64_t t, int64_t n, int64_t k, bool bias, bool kept) {
  Operand b = RandomOperand(Role::kWide, {n}, 3);
  b.absent = !bias;
  const Result product = {Role::kCompute, {t, n}};
  KernelCase c =
      NewCase(OpKind::kLinearGelu, {}, {RandomOperand(Role::kCompute, {t, k}, 1), Factors({n, k}, 2, k), b},
              kept ? std::vector<Result>{product, product} : std::vector<Result>{product});
  absl::StrAppend(&c.name, "_", n, bias ? "_bias" : "", kept ? "_kept" : "");
  return c;
}

KernelCase LinearInputGeluGradCase(int64_t t, int64_t n, int64_t k) {
  KernelCase c = NewCase(OpKind::kLinearInputGeluGrad, {},
                         {RandomOperand(Role::kCompute, {t, n}, 1), Factors({n, k}, 2, n),
                          RandomOperand(Role::kCompute, {t, k}, 3, 2)},
                         {{Role::kCompute, {t, k}}});
  absl::StrAppend(&c.name, "_", k);
  return c;
}

KernelCase LinearWeightBiasGradCase(int64_t t, int64_t n, int64_t k) {
  KernelCase c = NewCase(OpKind::kLinearWeightBiasGrad, {},
                         {RandomOperand(Role::kCompute, {t, n}, 1), RandomOperand(Role::kCompute, {t, k}, 2)},
                         {{Role::kWide, {n, k}}, {Role::kWide, {n}}});
  absl::StrAppend(&c.name, "_", k);
  return c;
}

// With columns of the result that cuBLASLt takes GELU's epilogues for (multiples of 8), and others. Few: on a
// GPU each has a workspace of megabytes.
std::vector<KernelCase> FusedProductKernelCases() {
  return {LinearGeluCase(17, 33, 127, true, true), LinearGeluCase(17, 33, 127, false, false),
          LinearGeluCase(17, 24, 40, true, false), LinearGeluCase(17, 24, 40, true, true),
          LinearGeluCase(1, 8, 3, false, true), LinearInputGeluGradCase(17, 33, 127),
          LinearInputGeluGradCase(17, 33, 24),
          // More rows than a partial sum has.
          LinearWeightBiasGradCase(150, 17, 9)};
}

}  // namespace trireme
