// Vectors of floats, loaded from and stored to f32 and bf16 alike. Included once for every instruction set,
// between foreach_target.h and the kernels (Highway's convention for "-inl.h" files).
#if defined(TRIREME_RUNTIME_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRIREME_RUNTIME_CPU_SIMD_INL_H_
#undef TRIREME_RUNTIME_CPU_SIMD_INL_H_
#else
#define TRIREME_RUNTIME_CPU_SIMD_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "runtime/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using U32 = hn::RebindToUnsigned<F32>;
using U16 = hn::Rebind<uint16_t, F32>;
using VF32 = hn::Vec<F32>;

HWY_INLINE int64_t NumLanes() {
  return static_cast<int64_t>(hn::Lanes(F32()));
}

HWY_INLINE VF32 Load(const float* from) {
  return hn::LoadU(F32(), from);
}

HWY_INLINE VF32 Load(const Bf16* from) {
  const auto bits = hn::LoadU(U16(), reinterpret_cast<const uint16_t*>(from));
  return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(U32(), bits)));
}

HWY_INLINE void Store(VF32 v, float* to) {
  hn::StoreU(v, F32(), to);
}

// Rounds to nearest even; a NaN stays a NaN.
HWY_INLINE void Store(VF32 v, Bf16* to) {
  const U32 u32;
  const auto bits = hn::BitCast(u32, v);
  const auto upper = hn::ShiftRight<16>(bits);
  const auto half = hn::Add(hn::Set(u32, 0x7fff), hn::And(upper, hn::Set(u32, 1)));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, half));
  const auto quiet = hn::Or(upper, hn::Set(u32, 0x40));
  const auto result = hn::IfThenElse(hn::RebindMask(u32, hn::IsNaN(v)), quiet, rounded);
  hn::StoreU(hn::TruncateTo(U16(), result), U16(), reinterpret_cast<uint16_t*>(to));
}

// The first n < NumLanes() lanes; the others are zero.
template <typename T>
HWY_INLINE VF32 LoadPart(const T* from, int64_t n) {
  HWY_ALIGN T lanes[HWY_MAX_BYTES / sizeof(float)] = {};
  std::memcpy(lanes, from, n * sizeof(T));
  return Load(lanes);
}

template <typename T>
HWY_INLINE void StorePart(VF32 v, T* to, int64_t n) {
  HWY_ALIGN T lanes[HWY_MAX_BYTES / sizeof(float)];
  Store(v, lanes);
  std::memcpy(to, lanes, n * sizeof(T));
}

// out[i] = f(in[i]...) for i in [0, n). `out` may be one of the inputs.
template <class F, typename Out, typename... In>
HWY_INLINE void Map(int64_t n, F f, Out* out, const In*... in) {
  const int64_t lanes = NumLanes();
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) Store(f(Load(in + i)...), out + i);
  if (i < n) StorePart(f(LoadPart(in + i, n - i)...), out + i, n - i);
}

// Adds f(in[i]...) over i in [0, n): f must yield 0 where all inputs are 0.
template <class F, typename... In>
HWY_INLINE float Sum(int64_t n, F f, const In*... in) {
  const int64_t lanes = NumLanes();
  // Two sums, so that an addition need not wait for the one before.
  VF32 even = hn::Zero(F32());
  VF32 odd = hn::Zero(F32());
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    even = hn::Add(even, f(Load(in + i)...));
    odd = hn::Add(odd, f(Load(in + i + lanes)...));
  }
  for (; i + lanes <= n; i += lanes) even = hn::Add(even, f(Load(in + i)...));
  if (i < n) odd = hn::Add(odd, f(LoadPart(in + i, n - i)...));
  return hn::GetLane(hn::SumOfLanes(F32(), hn::Add(even, odd)));
}

// e^x to 1 unit in the last place of float; x is limited to [-87, 88], where e^x is a normal number. A NaN
// stays one.
HWY_INLINE VF32 Exp(VF32 x) {
  const F32 d;
  // In this order of operands x86 returns the second, x, where x is a NaN.
  x = hn::Max(hn::Set(d, -87.0f), hn::Min(hn::Set(d, 88.0f), x));
  // x = n ln 2 + r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer and leaves it in the low
  // bits.
  const VF32 magic = hn::Set(d, 0x1.8p23f);
  const VF32 shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), magic);
  const VF32 n = hn::Sub(shifted, magic);
  // In two steps, so that r keeps its low bits.
  VF32 r = hn::NegMulAdd(n, hn::Set(d, 0x1.62e4p-1f), x);
  r = hn::NegMulAdd(n, hn::Set(d, 0x1.7f7d1cp-20f), r);
  // e^r = 1 + r + r^2 q(r), q fitted for the smallest relative error of e^r (3e-9).
  VF32 q = hn::MulAdd(hn::Set(d, 0.00138145837f), r, hn::Set(d, 0.00836872403f));
  q = hn::MulAdd(q, r, hn::Set(d, 0.041668389f));
  q = hn::MulAdd(q, r, hn::Set(d, 0.166665211f));
  q = hn::MulAdd(q, r, hn::Set(d, 0.49999994f));
  const VF32 e = hn::Add(hn::MulAdd(hn::Mul(r, r), q, r), hn::Set(d, 1.0f));
  const U32 u32;
  return hn::BitCast(d, hn::Add(hn::BitCast(u32, e), hn::ShiftLeft<23>(hn::BitCast(u32, shifted))));
}

// 1 / (1 + e^-x).
HWY_INLINE VF32 Sigmoid(VF32 x) {
  const VF32 one = hn::Set(F32(), 1.0f);
  return hn::Div(one, hn::Add(one, Exp(hn::Neg(x))));
}

// Calls f with a float or a Bf16, as `dtype` says.
template <class F>
HWY_INLINE void ForFastFloat(DType dtype, F f) {
  if (dtype == DType::kBF16) {
    f(Bf16());
  } else {
    f(float());
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
