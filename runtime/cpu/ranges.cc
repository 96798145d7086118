#include "runtime/cpu/ranges.h"

namespace trireme {

void ForRanges(const KernelArguments& a, int64_t total, int64_t items, RangeKernel kernel) {
  const int64_t ranges = NumRanges(total, items);
  if (ranges == 1) return kernel(a, 0, total);
#pragma omp parallel for num_threads(a.num_threads) schedule(static)
  for (int64_t i = 0; i < ranges; ++i) kernel(a, i * items, std::min(total, (i + 1) * items));
}

}  // namespace trireme
