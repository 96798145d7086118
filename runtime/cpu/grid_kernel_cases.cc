// Cases of gradients on a grid.
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "runtime/cpu/kernel_cases.h"
#include "runtime/ops/gradient_grid.h"

namespace trireme {

KernelCase AddToGridCase(int64_t n, bool fits) {
  Operand x = RandomOperand(Role::kWide, {n}, 1);
  if (!fits) x.values[0] = x.values[n / 2] = x.values[n - 1] = -0x1p20;
  KernelCase c = NewCase(OpKind::kAddToGrid, {{"exponent", int64_t{-24}}, {"limit", int64_t{1} << 44}},
                         {x, {Role::kI64, {1}, {0}}}, {{Role::kI64, {n}}, {Role::kI64, {1}, 1}});
  absl::StrAppend(&c.name, fits ? "" : "_overflows");
  return c;
}

KernelCase AddToGridEdgeCase() {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::vector<double> x = {0.25,   0.75,      -0.75,      -1.25,        511.5, 511.75,   -511.5, -512,
                                 0x1p20, kInfinity, -kInfinity, std::nan(""), -0.0,  0x1p-149, 0x1p127};
  const auto n = static_cast<int64_t>(x.size());
  KernelCase c =
      NewCase(OpKind::kAddToGrid, {{"exponent", int64_t{-1}}, {"limit", int64_t{1024}}},
              {{Role::kWide, {n}, x}, {Role::kI64, {1}, {0}}}, {{Role::kI64, {n}}, {Role::kI64, {1}, 1}});
  absl::StrAppend(&c.name, "_edges");
  return c;
}

KernelCase AccumulateWholeCase(int64_t n) {
  KernelCase c = NewCase(OpKind::kAccumulate, {},
                         {{Role::kI64, {n}, Integers(n, 1, -(int64_t{1} << 62), int64_t{1} << 62)}},
                         {{Role::kI64, {n}}});
  absl::StrAppend(&c.name, "_whole");
  return c;
}

KernelCase GridSquaredNormCase(int64_t n) {
  Operand gradient = {Role::kI64, {n}, Integers(n, 1, -(int64_t{1} << 45), int64_t{1} << 45)};
  // 16 and more of about 2^62.
  for (double& v : gradient.values) v = std::copysign(0x1p62, v) + std::ldexp(v, 12);
  return NewCase(OpKind::kGridSquaredNorm, {}, {gradient}, {{Role::kI64, {1, kGridLimbs}}});
}

KernelCase GridSumCase(int64_t buckets, bool overflows) {
  const std::vector<double> limbs = Integers(buckets * kGridLimbs, 1, 0, int64_t{1} << 32);
  KernelCase c =
      NewCase(OpKind::kGridSum, {},
              {{Role::kI64, {buckets, kGridLimbs}, limbs}, {Role::kI64, {1}, {overflows ? 1.0 : 0.0}}},
              {{Role::kI64, {kGridSums}}, {Role::kI64, {1}, 1}});
  absl::StrAppend(&c.name, overflows ? "_overflows" : "");
  return c;
}

KernelCase GridNormCase(bool overflows) {
  std::vector<double> sums = Integers(kGridSums, 1, 0, int64_t{1} << 40);
  sums[kGridLimbs] = overflows ? 3 : 0;
  KernelCase c = NewCase(OpKind::kGridNorm, {{"exponent", int64_t{-30}}}, {{Role::kI64, {kGridSums}, sums}},
                         {{Role::kF64, {1}}});
  absl::StrAppend(&c.name, overflows ? "_overflows" : "");
  return c;
}

KernelCase FromGridCase(int64_t n) {
  return NewCase(OpKind::kFromGrid, {{"exponent", int64_t{-44}}},
                 {{Role::kI64, {n}, Integers(n, 1, -(int64_t{1} << 50), int64_t{1} << 50)}},
                 {{Role::kWide, {n}}});
}

std::vector<KernelCase> GridKernelCases() {
  std::vector<KernelCase> cases;
  for (int64_t n : {1, 17, 40000}) {
    for (const bool fits : {true, false}) cases.push_back(AddToGridCase(n, fits));
    cases.push_back(AccumulateWholeCase(n));
    cases.push_back(GridSquaredNormCase(n));
    cases.push_back(FromGridCase(n));
  }
  cases.push_back(AddToGridEdgeCase());
  cases.push_back(GridSquaredNormCase(150001));
  cases.push_back(GridSumCase(300, false));
  for (const bool overflows : {false, true}) {
    cases.push_back(GridSumCase(3, overflows));
    cases.push_back(GridNormCase(overflows));
  }
  return cases;
}

}  // namespace trireme
