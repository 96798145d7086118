// Cuts a kernel's work into ranges that threads take. The cut depends on the shapes alone, never on the
// number of threads: sums that are formed a range at a time come out the same bit for bit.
#ifndef TRIREME_RUNTIME_CPU_RANGES_H_
#define TRIREME_RUNTIME_CPU_RANGES_H_

#include <algorithm>
#include <cstdint>

#include "runtime/kernel.h"

namespace trireme {

// The rows of an op whose input number `offsets`, if it has so many, says how many there are of at most
// `rows`.
inline int64_t ExistingRows(const KernelArguments& a, size_t offsets, int64_t rows) {
  if (a.inputs.size() <= offsets) return rows;
  const View& given = a.inputs[offsets];
  return given.as<int32_t>()[given.shape[0] - 1];
}

// Does the items [begin, end) of a kernel.
using RangeKernel = void (*)(const KernelArguments& a, int64_t begin, int64_t end);

// Elements of a range of a kernel that works element by element.
inline constexpr int64_t kElementsPerRange = 1 << 14;
// Elements of a squared norm that are added up before the sums are.
inline constexpr int64_t kElementsPerSum = 1 << 16;
// Rows that one partial sum of a column covers.
inline constexpr int64_t kRowsPerPartial = 64;

constexpr int64_t NumRanges(int64_t total, int64_t items) {
  return (total + items - 1) / items;
}
// Rows of a range of a kernel that works row by row.
constexpr int64_t RowsPerRange(int64_t cols) {
  return std::max<int64_t>(1, kElementsPerRange / std::max<int64_t>(1, cols));
}

// Calls kernel(a, begin, end) for [0, total) in ranges of `items`, on a.num_threads threads.
void ForRanges(const KernelArguments& a, int64_t total, int64_t items, RangeKernel kernel);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_RANGES_H_
