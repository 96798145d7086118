#include <cmath>
#include <cstring>

#include "runtime/cpu/fast.h"
#include "runtime/cpu/ranges.h"
#include "runtime/cpu/rope_angles.h"
#include "runtime/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/rope.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, in this order.
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

using F64 = hn::ScalableTag<double>;
using HalfF32 = hn::Rebind<float, F64>;

// Turns the angles on by one position.
HWY_INLINE void AdvanceAngles(const RopeAngles& angles) {
  const F64 f64;
  for (int64_t i = 0; i < angles.padded; i += static_cast<int64_t>(hn::Lanes(f64))) {
    const auto cosine = hn::Load(f64, angles.cosine + i);
    const auto sine = hn::Load(f64, angles.sine + i);
    const auto step_cosine = hn::Load(f64, angles.step_cosine + i);
    const auto step_sine = hn::Load(f64, angles.step_sine + i);
    hn::Store(hn::NegMulAdd(sine, step_sine, hn::Mul(cosine, step_cosine)), f64, angles.cosine + i);
    hn::Store(hn::MulAdd(cosine, step_sine, hn::Mul(sine, step_cosine)), f64, angles.sine + i);
  }
}

HWY_INLINE void RoundAngles(const RopeAngles& angles, double direction) {
  const F64 f64;
  const HalfF32 f32;
  const auto sign = hn::Set(f64, direction);
  for (int64_t i = 0; i < angles.padded; i += static_cast<int64_t>(hn::Lanes(f64))) {
    hn::StoreU(hn::DemoteTo(f32, hn::Load(f64, angles.cosine + i)), f32, angles.rounded_cosine + i);
    hn::StoreU(hn::DemoteTo(f32, hn::Mul(sign, hn::Load(f64, angles.sine + i))), f32,
               angles.rounded_sine + i);
  }
}

struct Pair {
  VF32 first;
  VF32 second;
};

HWY_INLINE Pair Turn(Pair x, VF32 cosine, VF32 sine) {
  return {hn::NegMulAdd(x.second, sine, hn::Mul(x.first, cosine)),
          hn::MulAdd(x.first, sine, hn::Mul(x.second, cosine))};
}

// y's pairs (i, i + half) are x's, turned.
template <typename T>
HWY_INLINE void TurnHead(const T* x, const RopeAngles& angles, int64_t half, T* y) {
  const int64_t lanes = NumLanes();
  int64_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const Pair pair = Turn({Load(x + i), Load(x + half + i)}, Load(angles.rounded_cosine + i),
                           Load(angles.rounded_sine + i));
    Store(pair.first, y + i);
    Store(pair.second, y + half + i);
  }
  if (const int64_t rest = half - i; rest > 0) {
    const Pair pair = Turn({LoadPart(x + i, rest), LoadPart(x + half + i, rest)},
                           Load(angles.rounded_cosine + i), Load(angles.rounded_sine + i));
    StorePart(pair.first, y + i, rest);
    StorePart(pair.second, y + half + i, rest);
  }
}

void RopeRows(const KernelArguments& a, int64_t begin, int64_t end) {
  const Attributes& attributes = a.op.attributes;
  const int64_t heads = attributes.Int("query_heads") + attributes.Int("key_heads");
  const int64_t size = attributes.Int("head_size");
  const double direction = attributes.Int("inverse") != 0 ? -1 : 1;
  const int32_t* positions = a.inputs[1].as<int32_t>();
  const int64_t cols = a.inputs[0].shape.cols();
  const RopeAngles angles(a, begin);
  for (int64_t t = begin; t < end; ++t) {
    if (t > begin && positions[t] == positions[t - 1] + 1) {
      AdvanceAngles(angles);
    } else {
      angles.SetPosition(positions[t]);
    }
    RoundAngles(angles, direction);
    ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
      using T = decltype(type);
      const T* x = a.inputs[0].as<T>() + t * cols;
      T* y = a.outputs[0].as<T>() + t * cols;
      for (int64_t h = 0; h < heads; ++h) {
        TurnHead(x + h * size, angles, size / 2, y + h * size);
      }
      if (x != y) std::memcpy(y + heads * size, x + heads * size, (cols - heads * size) * sizeof(T));
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(RopeRows);

int64_t RopeFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View> outputs,
                               int num_threads) {
  (void)outputs;
  (void)num_threads;
  return RopeAngles::WorkspaceBytes(inputs[0].shape.rows(), op.attributes.Int("head_size"));
}

void RopeFast(const KernelArguments& a) {
  RopeAngles::FillSteps(a);
  ForRanges(a, a.inputs[0].shape.rows(), RopeAngles::kRows, HWY_DYNAMIC_DISPATCH(RopeRows));
}

}  // namespace trireme
#endif  // HWY_ONCE
