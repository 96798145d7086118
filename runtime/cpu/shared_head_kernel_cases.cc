#include <utility>

#include "runtime/cpu/kernel_cases.h"

namespace trireme {
namespace {

KernelCase OfSharedHeads(KernelCase c) {
  c.mesh[Axis::kTp] = 4;
  c.coordinate[Axis::kTp] = 2;
  return c;
}

}  // namespace

KernelCase SharedRowsCase(int64_t rows, int64_t d) {
  return OfSharedHeads(NewCase(OpKind::kSharedRows, {{"parts", int64_t{2}}, {"heads", int64_t{2}}},
                               {RandomOperand(Role::kCompute, {4 * rows, d}, 1)},
                               {{Role::kCompute, {2 * rows, d}}}));
}

KernelCase SharedRowsGradCase(int64_t rows, int64_t d) {
  return OfSharedHeads(NewCase(OpKind::kSharedRowsGrad, {{"parts", int64_t{2}}, {"heads", int64_t{2}}},
                               {RandomOperand(Role::kWide, {2 * rows, d}, 1)},
                               {{Role::kWide, {4 * rows, d}}}));
}

KernelCase ConcatColumnsCase(int64_t t, int64_t n, int64_t m) {
  return NewCase(OpKind::kConcatColumns, {},
                 {RandomOperand(Role::kCompute, {t, n}, 1), RandomOperand(Role::kCompute, {t, m}, 2)},
                 {{Role::kCompute, {t, n + m}}});
}

KernelCase SplitColumnsCase(int64_t t, int64_t n, int64_t m) {
  return NewCase(OpKind::kSplitColumns, {}, {RandomOperand(Role::kCompute, {t, n + m}, 1)},
                 {{Role::kCompute, {t, n}}, {Role::kCompute, {t, m}}});
}

std::vector<KernelCase> SharedHeadKernelCases() {
  std::vector<KernelCase> cases;
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 19}, {64, 40}}) {
    cases.push_back(SharedRowsCase(rows, columns));
    cases.push_back(SharedRowsGradCase(rows, columns));
    cases.push_back(ConcatColumnsCase(rows, columns, 2 * rows));
    cases.push_back(SplitColumnsCase(rows, columns, 2 * rows));
  }
  return cases;
}

}  // namespace trireme
