#include "runtime/cpu/column_sums.h"

#include <cstring>

#include "runtime/cpu/fast.h"
#include "runtime/cpu/ranges.h"
#include "runtime/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/column_sums.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, in this order.
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

// Adds rows [begin, end) of the input into their partial row.
void ColumnSumRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.inputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.inputs[0].shape.cols();
    float* sums = PartialSums(a, begin, 1, cols);
    std::memset(sums, 0, cols * sizeof(float));
    const auto add = [](VF32 sum, VF32 x) HWY_ATTR { return hn::Add(sum, x); };
    for (int64_t t = begin; t < end; ++t) Map(cols, add, sums, sums, a.inputs[0].as<T>() + t * cols);
  });
}

// out[n] (+)= the sum over `count` rows of in, which lie `stride` apart, for n in [0, cols).
void AddRows(const float* in, int64_t count, int64_t stride, int64_t cols, bool accumulate, float* out) {
  const auto add = [](VF32 sum, VF32 x) HWY_ATTR { return hn::Add(sum, x); };
  int64_t first = 0;
  if (!accumulate) {
    std::memcpy(out, in, cols * sizeof(float));
    first = 1;
  }
  for (int64_t i = first; i < count; ++i) Map(cols, add, out, out, in + i * stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(ColumnSumRows);
HWY_EXPORT(AddRows);

int64_t PartialSumBytes(int64_t rows, int64_t sums, int64_t cols) {
  return NumRanges(rows, kRowsPerPartial) * sums * cols * static_cast<int64_t>(sizeof(float));
}

void AddPartialSums(const KernelArguments& a, int64_t rows, int64_t sums, int64_t cols, int first_output) {
  constexpr int64_t kColumns = 512;  // a piece of the sums stays in the first-level cache
  const int64_t count = NumRanges(rows, kRowsPerPartial);
  const int64_t pieces = NumRanges(cols, kColumns);
  const auto add_rows = HWY_DYNAMIC_DISPATCH(AddRows);
#pragma omp parallel for num_threads(a.num_threads) schedule(static)
  for (int64_t i = 0; i < sums * pieces; ++i) {
    const int64_t sum = i / pieces;
    const int64_t begin = i % pieces * kColumns;
    const int64_t width = std::min(kColumns, cols - begin);
    float* out = a.outputs[first_output + sum].as<float>() + begin;
    if (count == 0 && !a.accumulate) std::memset(out, 0, width * sizeof(float));
    if (count > 0) {
      add_rows(PartialSums(a, 0, sums, cols) + sum * cols + begin, count, sums * cols, width, a.accumulate,
               out);
    }
  }
}

int64_t ColumnSumFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                    absl::Span<const View> outputs, int num_threads) {
  (void)op;
  (void)outputs;
  (void)num_threads;
  return PartialSumBytes(inputs[0].shape.rows(), 1, inputs[0].shape.cols());
}

void ColumnSumFast(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  ForRanges(a, shape.rows(), kRowsPerPartial, HWY_DYNAMIC_DISPATCH(ColumnSumRows));
  AddPartialSums(a, shape.rows(), 1, shape.cols(), 0);
}

}  // namespace trireme
#endif  // HWY_ONCE
