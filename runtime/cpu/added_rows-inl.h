// A residual addition in the pass that begins a norm. Included once for every instruction set, after
// simd-inl.h (Highway's convention for "-inl.h" files).
#if defined(TRIREME_RUNTIME_CPU_ADDED_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRIREME_RUNTIME_CPU_ADDED_ROWS_INL_H_
#undef TRIREME_RUNTIME_CPU_ADDED_ROWS_INL_H_
#else
#define TRIREME_RUNTIME_CPU_ADDED_ROWS_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

// sum[i] = a[i] + b[i]; returns what Sum() gives of it as it is stored, f(sum[i]) added up, in the same pass.
template <class F, typename T>
HWY_INLINE float AddAndSum(int64_t n, F f, T* sum, const T* a, const T* b) {
  const int64_t lanes = NumLanes();
  const auto add = [=](int64_t i) HWY_ATTR {
    Store(hn::Add(Load(a + i), Load(b + i)), sum + i);
    return f(Load(sum + i));
  };
  VF32 even = hn::Zero(F32());
  VF32 odd = hn::Zero(F32());
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    even = hn::Add(even, add(i));
    odd = hn::Add(odd, add(i + lanes));
  }
  for (; i + lanes <= n; i += lanes) even = hn::Add(even, add(i));
  if (i < n) {
    StorePart(hn::Add(LoadPart(a + i, n - i), LoadPart(b + i, n - i)), sum + i, n - i);
    odd = hn::Add(odd, f(LoadPart(sum + i, n - i)));
  }
  return hn::GetLane(hn::SumOfLanes(F32(), hn::Add(even, odd)));
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
