#include <cmath>
#include <cstring>

#include "runtime/cpu/column_sums.h"
#include "runtime/cpu/fast.h"
#include "runtime/cpu/ranges.h"
#include "runtime/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/rms_norm.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, in this order.
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

void RmsNormRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.inputs[0].shape.cols();
    const float* gain = a.inputs[1].as<float>();
    const double eps = a.op.attributes.Float("eps");
    const auto square = [](VF32 x) HWY_ATTR { return hn::Mul(x, x); };
    for (int64_t t = begin; t < end; ++t) {
      const T* x = a.inputs[0].as<T>() + t * cols;
      const double mean = static_cast<double>(Sum(cols, square, x)) / static_cast<double>(cols);
      const auto inverse = static_cast<float>(1 / std::sqrt(mean + eps));
      a.outputs[1].as<float>()[t] = inverse;
      const VF32 r = hn::Set(F32(), inverse);
      const auto scale = [r](VF32 v, VF32 g) HWY_ATTR { return hn::Mul(hn::Mul(v, r), g); };
      Map(cols, scale, a.outputs[0].as<T>() + t * cols, x, gain);
    }
  });
}

// A row's sum of dy gain x; adds dy x r to dgain.
template <typename T>
HWY_INLINE float AddGainSums(const T* dy, const T* x, const float* gain, VF32 r, int64_t cols, float* dgain) {
  VF32 dot = hn::Zero(F32());
  const auto add = [&dot, r](VF32 u, VF32 v, VF32 g, VF32 sum) HWY_ATTR {
    const VF32 product = hn::Mul(u, v);
    dot = hn::MulAdd(product, g, dot);
    return hn::MulAdd(product, r, sum);
  };
  Map(cols, add, dgain, dy, x, gain, dgain);
  return hn::GetLane(hn::SumOfLanes(F32(), dot));
}

// dx = r (dy gain - x r^2 mean(dy gain x)); the rows' part of dgain goes into their partial row.
void RmsNormGradRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.inputs[0].shape.cols();
    const float* gain = a.inputs[2].as<float>();
    float* dgain = PartialSums(a, begin, 1, cols);
    std::memset(dgain, 0, cols * sizeof(float));
    for (int64_t t = begin; t < end; ++t) {
      const T* dy = a.inputs[0].as<T>() + t * cols;
      const T* x = a.inputs[1].as<T>() + t * cols;
      const float inverse = a.inputs[3].as<float>()[t];
      const VF32 r = hn::Set(F32(), inverse);
      const float dot = AddGainSums(dy, x, gain, r, cols, dgain);
      const VF32 mean = hn::Set(F32(), dot * inverse * inverse / static_cast<float>(cols));
      const auto grad = [r, mean](VF32 u, VF32 v, VF32 g)
                            HWY_ATTR { return hn::Mul(r, hn::NegMulAdd(v, mean, hn::Mul(u, g))); };
      Map(cols, grad, a.outputs[0].as<T>() + t * cols, dy, x, gain);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(RmsNormRows);
HWY_EXPORT(RmsNormGradRows);

void RmsNormFast(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  ForRanges(a, shape.rows(), RowsPerRange(shape.cols()), HWY_DYNAMIC_DISPATCH(RmsNormRows));
}

int64_t RmsNormGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                      absl::Span<const View> outputs, int num_threads) {
  (void)op;
  (void)outputs;
  (void)num_threads;
  return PartialSumBytes(inputs[0].shape.rows(), 1, inputs[0].shape.cols());
}

void RmsNormGradFast(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  ForRanges(a, shape.rows(), kRowsPerPartial, HWY_DYNAMIC_DISPATCH(RmsNormGradRows));
  AddPartialSums(a, shape.rows(), 1, shape.cols(), 1);
}

}  // namespace trireme
#endif  // HWY_ONCE
