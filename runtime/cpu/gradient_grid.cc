#include "runtime/ops/gradient_grid.h"

#include <atomic>
#include <cmath>

#include "runtime/cpu/fast.h"
#include "runtime/cpu/ranges.h"
#include "runtime/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/gradient_grid.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, in this order.
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

using F64 = hn::ScalableTag<double>;
using I64 = hn::ScalableTag<int64_t>;
using VF64 = hn::Vec<F64>;

HWY_INLINE VF64 LoadWide(const double* from) {
  return hn::LoadU(F64(), from);
}
HWY_INLINE VF64 LoadWide(const float* from) {
  return hn::PromoteTo(F64(), hn::LoadU(hn::Rebind<float, F64>(), from));
}
HWY_INLINE void StoreWide(VF64 v, double* to) {
  hn::StoreU(v, F64(), to);
}
HWY_INLINE void StoreWide(VF64 v, float* to) {
  const hn::Rebind<float, F64> f32;
  hn::StoreU(hn::DemoteTo(f32, v), f32, to);
}

// Calls f(from, to) for each vector of [0, n), the last in copies that zeros fill up.
template <class F, typename From, typename To>
HWY_INLINE void ForVectors(const From* from, To* to, int64_t n, F f) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(F64()));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) f(from + i, to + i);
  if (i == n) return;
  HWY_ALIGN From last_from[HWY_MAX_BYTES / sizeof(double)] = {};
  HWY_ALIGN To last_to[HWY_MAX_BYTES / sizeof(double)] = {};
  std::memcpy(last_from, from + i, (n - i) * sizeof(From));
  std::memcpy(last_to, to + i, (n - i) * sizeof(To));
  f(last_from, last_to);
  std::memcpy(to + i, last_to, (n - i) * sizeof(To));
}

template <typename T>
void AddToGridOf(const KernelArguments& a, int64_t begin, int64_t end) {
  const VF64 scale = hn::Set(F64(), std::ldexp(1.0, -static_cast<int>(a.op.attributes.Int("exponent"))));
  const VF64 limit = hn::Set(F64(), static_cast<double>(a.op.attributes.Int("limit")));
  auto all_fit = hn::Eq(limit, limit);
  ForVectors(a.inputs[0].as<T>() + begin, a.outputs[0].as<int64_t>() + begin, end - begin,
             [&](const T* x, int64_t* sum) HWY_ATTR {
               const VF64 quanta = hn::Round(hn::Mul(LoadWide(x), scale));
               const auto fits = hn::Lt(hn::Abs(quanta), limit);  // not so for a NaN
               all_fit = hn::And(all_fit, fits);
               auto whole = hn::ConvertTo(I64(), hn::IfThenElseZero(fits, quanta));
               if (a.accumulate) whole = hn::Add(whole, hn::LoadU(I64(), sum));
               hn::StoreU(whole, I64(), sum);
             });
  // Any of the ranges' threads may find it.
  if (!hn::AllTrue(F64(), all_fit)) {
    std::atomic_ref<int64_t>(*a.outputs[1].as<int64_t>()).store(1, std::memory_order_relaxed);
  }
}

void AddToGridRange(const KernelArguments& a, int64_t begin, int64_t end) {
  if (a.inputs[0].dtype == DType::kF64) return AddToGridOf<double>(a, begin, end);
  AddToGridOf<float>(a, begin, end);
}

template <typename T>
void FromGridOf(const KernelArguments& a, int64_t begin, int64_t end) {
  const VF64 quantum = hn::Set(F64(), std::ldexp(1.0, static_cast<int>(a.op.attributes.Int("exponent"))));
  ForVectors(a.inputs[0].as<int64_t>() + begin, a.outputs[0].as<T>() + begin, end - begin,
             [&](const int64_t* gradient, T* wide) HWY_ATTR {
               const VF64 whole = hn::ConvertTo(F64(), hn::LoadU(I64(), gradient));
               StoreWide(hn::Mul(whole, quantum), wide);
             });
}

void FromGridRange(const KernelArguments& a, int64_t begin, int64_t end) {
  if (a.outputs[0].dtype == DType::kF64) return FromGridOf<double>(a, begin, end);
  FromGridOf<float>(a, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(AddToGridRange);
HWY_EXPORT(FromGridRange);

namespace {

using Uint128 = unsigned __int128;

// Of up to 2^64 squares of int64: low + 2^64 high, carried only at the end.
struct SumOfSquares {
  Uint128 low = 0;
  Uint128 high = 0;
};

void GridSquaredNormRange(const KernelArguments& a, int64_t begin, int64_t end) {
  const int64_t* gradient = a.inputs[0].as<int64_t>();
  SumOfSquares sum;
  for (int64_t i = begin; i < end; ++i) {
    const auto bits = static_cast<uint64_t>(gradient[i]);
    const Uint128 size = gradient[i] < 0 ? 0 - bits : bits;
    const Uint128 square = size * size;
    sum.low += static_cast<uint64_t>(square);
    sum.high += square >> 64;
  }
  static_cast<SumOfSquares*>(a.workspace)[begin / kElementsPerSum] = sum;
}

}  // namespace

void AddToGridFast(const KernelArguments& a) {
  ForRanges(a, a.inputs[0].shape.num_elements(), kElementsPerRange, HWY_DYNAMIC_DISPATCH(AddToGridRange));
}

void FromGridFast(const KernelArguments& a) {
  ForRanges(a, a.inputs[0].shape.num_elements(), kElementsPerRange, HWY_DYNAMIC_DISPATCH(FromGridRange));
}

int64_t GridSquaredNormFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                          absl::Span<const View> outputs, int num_threads) {
  (void)op;
  (void)outputs;
  (void)num_threads;
  return NumRanges(inputs[0].shape.num_elements(), kElementsPerSum) *
         static_cast<int64_t>(sizeof(SumOfSquares));
}

void GridSquaredNormFast(const KernelArguments& a) {
  const int64_t n = a.inputs[0].shape.num_elements();
  ForRanges(a, n, kElementsPerSum, GridSquaredNormRange);
  SumOfSquares sum;
  for (int64_t i = 0; i < NumRanges(n, kElementsPerSum); ++i) {
    const SumOfSquares& range = static_cast<const SumOfSquares*>(a.workspace)[i];
    sum.low += range.low;
    sum.high += range.high;
  }
  sum.high += sum.low >> 64;
  const uint64_t words[] = {static_cast<uint64_t>(sum.low), static_cast<uint64_t>(sum.high),
                            static_cast<uint64_t>(sum.high >> 64)};
  int64_t* limbs = a.outputs[0].as<int64_t>();
  for (int i = 0; i < kGridLimbs; ++i) {
    limbs[i] = static_cast<int64_t>(words[i / 2] >> (i % 2 * 32) & 0xffffffffu);
  }
}

}  // namespace trireme
#endif  // HWY_ONCE
