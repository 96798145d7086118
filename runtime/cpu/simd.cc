#include "runtime/cpu/simd.h"

#include <string_view>

#include "runtime/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/simd.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

const char* TargetName() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(TargetName);

const char* SimdName() {
  const char* name = HWY_DYNAMIC_DISPATCH(TargetName)();
  return std::string_view(name) == "AVX3" ? "AVX-512" : name;
}

}  // namespace trireme
#endif  // HWY_ONCE
