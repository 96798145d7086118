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
#include "runtime/cpu/added_rows-inl.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

// y = x r gain for one row, from its sum of squares; returns r.
template <typename T>
HWY_INLINE float NormRow(const T* x, float squares, const float* gain, int64_t cols, double eps, T* y) {
  const double mean = static_cast<double>(squares) / static_cast<double>(cols);
  const auto inverse = static_cast<float>(1 / std::sqrt(mean + eps));
  const VF32 r = hn::Set(F32(), inverse);
  const auto scale = [r](VF32 v, VF32 g) HWY_ATTR { return hn::Mul(hn::Mul(v, r), g); };
  Map(cols, scale, y, x, gain);
  return inverse;
}

void RmsNormRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.inputs[0].shape.cols();
    const double eps = a.op.attributes.Float("eps");
    const auto square = [](VF32 v) HWY_ATTR { return hn::Mul(v, v); };
    for (int64_t t = begin; t < end; ++t) {
      const T* x = a.inputs[0].as<T>() + t * cols;
      a.outputs[1].as<float>()[t] = NormRow(x, Sum(cols, square, x), a.inputs[1].as<float>(), cols, eps,
                                            a.outputs[0].as<T>() + t * cols);
    }
  });
}

// A row's sum is still in the first-level cache when it is scaled.
void AddRmsNormRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.inputs[0].shape.cols();
    const double eps = a.op.attributes.Float("eps");
    const auto square = [](VF32 v) HWY_ATTR { return hn::Mul(v, v); };
    for (int64_t t = begin; t < end; ++t) {
      T* sum = a.outputs[0].as<T>() + t * cols;
      const float squares =
          AddAndSum(cols, square, sum, a.inputs[0].as<T>() + t * cols, a.inputs[1].as<T>() + t * cols);
      a.outputs[2].as<float>()[t] =
          NormRow(sum, squares, a.inputs[2].as<float>(), cols, eps, a.outputs[1].as<T>() + t * cols);
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

// dx = r (dy gain - x r^2 mean(dy gain x)), plus the stream's gradient where there is one; the rows' part of
// dgain goes into their partial row.
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
      T* dx = a.outputs[0].as<T>() + t * cols;
      if (a.inputs.size() > 4) {
        const auto add = [grad](VF32 u, VF32 v, VF32 g, VF32 s)
                             HWY_ATTR { return hn::Add(grad(u, v, g), s); };
        Map(cols, add, dx, dy, x, gain, a.inputs[4].as<T>() + t * cols);
      } else {
        Map(cols, grad, dx, dy, x, gain);
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(RmsNormRows);
HWY_EXPORT(AddRmsNormRows);
HWY_EXPORT(RmsNormGradRows);

void RmsNormFast(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  ForRanges(a, shape.rows(), RowsPerRange(shape.cols()), HWY_DYNAMIC_DISPATCH(RmsNormRows));
}

void AddRmsNormFast(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  ForRanges(a, shape.rows(), RowsPerRange(shape.cols()), HWY_DYNAMIC_DISPATCH(AddRmsNormRows));
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
