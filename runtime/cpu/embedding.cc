#include <cstring>

#include "runtime/cpu/fast.h"
#include "runtime/cpu/ranges.h"
#include "runtime/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/embedding.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, in this order.
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

// Columns [begin, end) of every row of dtable, in the order of the tokens.
void EmbeddingGradColumns(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.inputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.inputs[0].shape.cols();
    const int64_t tokens = a.inputs[0].shape.rows();
    const int64_t rows = a.outputs[0].shape.rows();
    const int64_t first = a.op.attributes.Int("sharded") != 0 ? a.coordinate[Axis::kTp] * rows : 0;
    const int32_t* ids = a.inputs[1].as<int32_t>();
    const auto add = [](VF32 sum, VF32 x) HWY_ATTR { return hn::Add(sum, x); };
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t row = ids[t] - first;
      if (row < 0 || row >= rows) continue;
      float* sums = a.outputs[0].as<float>() + row * cols + begin;
      Map(end - begin, add, sums, static_cast<const float*>(sums), a.inputs[0].as<T>() + t * cols + begin);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(EmbeddingGradColumns);

namespace {

void ZeroRange(const KernelArguments& a, int64_t begin, int64_t end) {
  std::memset(a.outputs[0].as<float>() + begin, 0, (end - begin) * sizeof(float));
}

}  // namespace

void EmbeddingGradFast(const KernelArguments& a) {
  const Shape& table = a.outputs[0].shape;
  // A thread's own columns, whole cache lines of them. Here the cut may follow the threads: an element is
  // added to in the order of the tokens whoever does it.
  constexpr int64_t kLine = 16;
  const int64_t columns = NumRanges(NumRanges(table.cols(), a.num_threads), kLine) * kLine;
  if (!a.accumulate) ForRanges(a, table.num_elements(), 1 << 18, ZeroRange);
  ForRanges(a, table.cols(), columns, HWY_DYNAMIC_DISPATCH(EmbeddingGradColumns));
}

}  // namespace trireme
#endif  // HWY_ONCE
