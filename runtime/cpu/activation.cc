#include "runtime/cpu/fast.h"
#include "runtime/cpu/ranges.h"
#include "runtime/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/activation.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, in this order.
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

constexpr float kTwoRootTwoOverPi = 1.59576912f;
constexpr float kCubic = 0.044715f;

// 2u of the header's tanh form u: (1 + tanh(u)) / 2 = sigmoid(2u), which takes one exponential.
HWY_INLINE VF32 GeluArgument(VF32 x) {
  const F32 d;
  const VF32 inner =
      hn::MulAdd(hn::Set(d, kTwoRootTwoOverPi * kCubic), hn::Mul(x, x), hn::Set(d, kTwoRootTwoOverPi));
  return hn::Mul(x, inner);
}

void GeluRange(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const auto gelu = [](VF32 x) HWY_ATTR { return hn::Mul(x, Sigmoid(GeluArgument(x))); };
    Map(end - begin, gelu, a.outputs[0].as<T>() + begin, a.inputs[0].as<T>() + begin);
  });
}

void GeluGradRange(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const auto grad = [](VF32 dy, VF32 x) HWY_ATTR {
      const F32 d;
      const VF32 s = Sigmoid(GeluArgument(x));
      const VF32 slope = hn::MulAdd(hn::Set(d, 3 * kTwoRootTwoOverPi * kCubic), hn::Mul(x, x),
                                    hn::Set(d, kTwoRootTwoOverPi));
      // d(x s)/dx = s + x s (1 - s) slope
      const VF32 rest = hn::Mul(hn::NegMulAdd(s, s, s), hn::Mul(x, slope));
      return hn::Mul(dy, hn::Add(s, rest));
    };
    Map(end - begin, grad, a.outputs[0].as<T>() + begin, a.inputs[0].as<T>() + begin,
        a.inputs[1].as<T>() + begin);
  });
}

void SwiGluRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.outputs[0].shape.cols();
    const auto swiglu = [](VF32 gate, VF32 up) HWY_ATTR { return hn::Mul(hn::Mul(gate, Sigmoid(gate)), up); };
    for (int64_t t = begin; t < end; ++t) {
      const T* gate = a.inputs[0].as<T>() + 2 * t * cols;
      Map(cols, swiglu, a.outputs[0].as<T>() + t * cols, gate, gate + cols);
    }
  });
}

// The gradients of a gate and of what it gates.
struct SwiGluPair {
  VF32 gate;
  VF32 up;
};

HWY_INLINE SwiGluPair SwiGluGradOf(VF32 dy, VF32 gate, VF32 up) {
  const VF32 s = Sigmoid(gate);
  const VF32 silu = hn::Mul(gate, s);
  // d(gate s)/dgate = s + silu (1 - s)
  const VF32 slope = hn::Add(s, hn::NegMulAdd(silu, s, silu));
  return {hn::Mul(hn::Mul(dy, up), slope), hn::Mul(dy, silu)};
}

void SwiGluGradRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.inputs[0].shape.cols();
    const int64_t lanes = NumLanes();
    for (int64_t t = begin; t < end; ++t) {
      const T* dy = a.inputs[0].as<T>() + t * cols;
      const T* gate = a.inputs[1].as<T>() + 2 * t * cols;
      T* dgate = a.outputs[0].as<T>() + 2 * t * cols;
      int64_t f = 0;
      for (; f + lanes <= cols; f += lanes) {
        const SwiGluPair pair = SwiGluGradOf(Load(dy + f), Load(gate + f), Load(gate + cols + f));
        Store(pair.gate, dgate + f);
        Store(pair.up, dgate + cols + f);
      }
      if (const int64_t rest = cols - f; rest > 0) {
        const SwiGluPair pair =
            SwiGluGradOf(LoadPart(dy + f, rest), LoadPart(gate + f, rest), LoadPart(gate + cols + f, rest));
        StorePart(pair.gate, dgate + f, rest);
        StorePart(pair.up, dgate + cols + f, rest);
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(GeluRange);
HWY_EXPORT(GeluGradRange);
HWY_EXPORT(SwiGluRows);
HWY_EXPORT(SwiGluGradRows);

void GeluFast(const KernelArguments& a) {
  ForRanges(a, a.outputs[0].shape.num_elements(), kElementsPerRange, HWY_DYNAMIC_DISPATCH(GeluRange));
}

void GeluGradFast(const KernelArguments& a) {
  ForRanges(a, a.outputs[0].shape.num_elements(), kElementsPerRange, HWY_DYNAMIC_DISPATCH(GeluGradRange));
}

void SwiGluFast(const KernelArguments& a) {
  const Shape& shape = a.outputs[0].shape;
  ForRanges(a, ExistingRows(a, 1, shape.rows()), RowsPerRange(shape.cols()),
            HWY_DYNAMIC_DISPATCH(SwiGluRows));
}

void SwiGluGradFast(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  ForRanges(a, ExistingRows(a, 2, shape.rows()), RowsPerRange(shape.cols()),
            HWY_DYNAMIC_DISPATCH(SwiGluGradRows));
}

}  // namespace trireme
#endif  // HWY_ONCE
