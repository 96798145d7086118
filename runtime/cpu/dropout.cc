#include <cmath>

#include "runtime/cpu/fast.h"
#include "runtime/cpu/ranges.h"
#include "runtime/cpu/simd_targets.h"
#include "runtime/random.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/dropout.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, in this order.
#include "hwy/highway.h"
#include "runtime/cpu/philox-inl.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

void DropoutRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.outputs[0].shape.cols();
    const double rate = a.op.attributes.Float("rate");
    const RoundKeys keys(RandomStream(static_cast<uint64_t>(a.op.attributes.Int("seed")),
                                      static_cast<uint64_t>(a.op.attributes.Int("name")))
                             .key());
    const auto threshold = hn::Set(U32(), static_cast<uint32_t>(std::ceil(rate * 0x1p32)));
    const VF32 scale = hn::Set(F32(), static_cast<float>(1 / (1 - rate)));
    const int64_t step = WordsAtATime();
    HWY_ALIGN uint32_t words[kMaxWords];
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t d = 0; d < cols; d += step) {
        DrawWords(keys, a.inputs[1].as<int64_t>()[t], d / 4, words);
        const uint32_t* next = words;
        const auto drop = [&next, threshold, scale](VF32 x) HWY_ATTR {
          const auto dropped = hn::Lt(hn::LoadU(U32(), next), threshold);
          next += NumLanes();
          return hn::IfThenZeroElse(hn::RebindMask(F32(), dropped), hn::Mul(x, scale));
        };
        const int64_t at = t * cols + d;
        Map(std::min(step, cols - d), drop, a.outputs[0].as<T>() + at, a.inputs[0].as<T>() + at);
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(DropoutRows);

void DropoutFast(const KernelArguments& a) {
  const Shape& shape = a.outputs[0].shape;
  ForRanges(a, shape.rows(), RowsPerRange(shape.cols()), HWY_DYNAMIC_DISPATCH(DropoutRows));
}

}  // namespace trireme
#endif  // HWY_ONCE
