#include <cstring>

#include "runtime/cpu/fast.h"
#include "runtime/cpu/plain/plain.h"
#include "runtime/cpu/ranges.h"
#include "runtime/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/elementwise.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, in this order.
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

void AddRange(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const auto add = [](VF32 x, VF32 y) HWY_ATTR { return hn::Add(x, y); };
    Map(end - begin, add, a.outputs[0].as<T>() + begin, a.inputs[0].as<T>() + begin,
        a.inputs[1].as<T>() + begin);
  });
}

void CastRange(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.inputs[0].dtype, [&](auto from) HWY_ATTR {
    ForFastFloat(a.outputs[0].dtype, [&](auto to) HWY_ATTR {
      const auto same = [](VF32 x) HWY_ATTR { return x; };
      Map(end - begin, same, a.outputs[0].as<decltype(to)>() + begin,
          a.inputs[0].as<decltype(from)>() + begin);
    });
  });
}

void AccumulateRange(const KernelArguments& a, int64_t begin, int64_t end) {
  const auto add = [](VF32 x, VF32 y) HWY_ATTR { return hn::Add(x, y); };
  const float* x = a.inputs[0].as<float>() + begin;
  float* y = a.outputs[0].as<float>() + begin;
  if (a.accumulate) {
    Map(end - begin, add, y, x, y);
  } else {
    std::memcpy(y, x, (end - begin) * sizeof(float));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(AddRange);
HWY_EXPORT(CastRange);
HWY_EXPORT(AccumulateRange);

void AddFast(const KernelArguments& a) {
  ForRanges(a, a.outputs[0].shape.num_elements(), kElementsPerRange, HWY_DYNAMIC_DISPATCH(AddRange));
}

void CastFast(const KernelArguments& a) {
  if (a.outputs[0].dtype == DType::kF64) return CastPlain(a);
  ForRanges(a, a.outputs[0].shape.num_elements(), kElementsPerRange, HWY_DYNAMIC_DISPATCH(CastRange));
}

void AccumulateFast(const KernelArguments& a) {
  if (a.inputs[0].dtype == DType::kI64) return AccumulatePlain(a);
  ForRanges(a, a.outputs[0].shape.num_elements(), kElementsPerRange, HWY_DYNAMIC_DISPATCH(AccumulateRange));
}

}  // namespace trireme
#endif  // HWY_ONCE
