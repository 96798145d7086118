// Sums over rows that do not depend on the number of threads: each range of kRowsPerPartial rows (ranges.h)
// is summed into a row of partial sums by one thread, and the partial rows are then added in order.
#ifndef TRIREME_RUNTIME_CPU_COLUMN_SUMS_H_
#define TRIREME_RUNTIME_CPU_COLUMN_SUMS_H_

#include "runtime/cpu/ranges.h"
#include "runtime/kernel.h"

namespace trireme {

// Bytes of the partial rows of `sums` sums [cols] over `rows` rows. They lie in the workspace as [ranges,
// sums, cols].
int64_t PartialSumBytes(int64_t rows, int64_t sums, int64_t cols);

// Where the partial sums of the range that begins at row `begin` lie in the workspace.
inline float* PartialSums(const KernelArguments& a, int64_t begin, int64_t sums, int64_t cols) {
  return static_cast<float*>(a.workspace) + begin / kRowsPerPartial * sums * cols;
}

// Adds up the partial rows of sum number i into outputs[first_output + i], for each i < sums; overwrites or
// accumulates as the arguments say.
void AddPartialSums(const KernelArguments& a, int64_t rows, int64_t sums, int64_t cols, int first_output);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_COLUMN_SUMS_H_
