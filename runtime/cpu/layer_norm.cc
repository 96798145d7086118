#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/cpu/column_sums.h"
#include "runtime/cpu/fast.h"
#include "runtime/cpu/ranges.h"
#include "runtime/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/layer_norm.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, in this order.
#include "hwy/highway.h"
#include "runtime/cpu/added_rows-inl.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

// The sum of (x - m)^2 over a row.
template <typename T>
HWY_INLINE float CentredSquares(const T* x, int64_t cols, VF32 m) {
  const F32 d;
  const int64_t lanes = NumLanes();
  VF32 even = hn::Zero(d);
  VF32 odd = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= cols; i += 2 * lanes) {
    const VF32 first = hn::Sub(Load(x + i), m);
    const VF32 second = hn::Sub(Load(x + i + lanes), m);
    even = hn::MulAdd(first, first, even);
    odd = hn::MulAdd(second, second, odd);
  }
  for (; i < cols; i += lanes) {
    const int64_t n = std::min(lanes, cols - i);
    const VF32 centred = hn::Sub(n < lanes ? LoadPart(x + i, n) : Load(x + i), m);
    const VF32 wanted = hn::IfThenElseZero(hn::FirstN(d, n), centred);
    even = hn::MulAdd(wanted, wanted, even);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
}

struct GradSums {
  float scaled;  // of dy gain
  float dot;     // of dy gain n
};

// A row's sums; adds dy n to dgain and dy to dbias.
template <typename T>
HWY_INLINE GradSums AddGradSums(const T* dy, const T* x, const float* gain, VF32 m, VF32 r, int64_t cols,
                                float* dgain, float* dbias) {
  const F32 d;
  const int64_t lanes = NumLanes();
  VF32 scaled_sum = hn::Zero(d);
  VF32 dot_sum = hn::Zero(d);
  const auto step = [&](VF32 u, VF32 v, VF32 g, VF32* gain_sum, VF32* bias_sum) HWY_ATTR {
    const VF32 n = hn::Mul(hn::Sub(v, m), r);
    const VF32 scaled = hn::Mul(u, g);
    scaled_sum = hn::Add(scaled_sum, scaled);
    dot_sum = hn::MulAdd(scaled, n, dot_sum);
    *gain_sum = hn::MulAdd(u, n, *gain_sum);
    *bias_sum = hn::Add(*bias_sum, u);
  };
  int64_t i = 0;
  for (; i + lanes <= cols; i += lanes) {
    VF32 gain_sum = Load(dgain + i);
    VF32 bias_sum = Load(dbias + i);
    step(Load(dy + i), Load(x + i), Load(gain + i), &gain_sum, &bias_sum);
    Store(gain_sum, dgain + i);
    Store(bias_sum, dbias + i);
  }
  if (const int64_t rest = cols - i; rest > 0) {
    // dy is zero in the lanes beyond the row, so they add nothing.
    VF32 gain_sum = LoadPart(dgain + i, rest);
    VF32 bias_sum = LoadPart(dbias + i, rest);
    step(LoadPart(dy + i, rest), LoadPart(x + i, rest), LoadPart(gain + i, rest), &gain_sum, &bias_sum);
    StorePart(gain_sum, dgain + i, rest);
    StorePart(bias_sum, dbias + i, rest);
  }
  return {hn::GetLane(hn::SumOfLanes(d, scaled_sum)), hn::GetLane(hn::SumOfLanes(d, dot_sum))};
}

// y of one row, and its mean and r, from the sum of its elements.
template <typename T>
HWY_INLINE void NormalizeRow(const T* x, float sum, const float* gain, const float* bias, int64_t cols,
                             double eps, T* y, float* statistics) {
  const float mean = sum / static_cast<float>(cols);
  const VF32 m = hn::Set(F32(), mean);
  // Centred before it is squared: the difference of two large sums would cancel.
  const float variance = CentredSquares(x, cols, m) / static_cast<float>(cols);
  const auto inverse = static_cast<float>(1 / std::sqrt(variance + eps));
  statistics[0] = mean;
  statistics[1] = inverse;
  const VF32 r = hn::Set(F32(), inverse);
  const auto normalize = [m, r](VF32 v, VF32 g, VF32 b)
                             HWY_ATTR { return hn::MulAdd(hn::Mul(hn::Sub(v, m), r), g, b); };
  Map(cols, normalize, y, x, gain, bias);
}

void LayerNormRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.inputs[0].shape.cols();
    const float* gain = a.inputs[1].as<float>();
    const float* bias = a.inputs[2].as<float>();
    const double eps = a.op.attributes.Float("eps");
    const auto same = [](VF32 v) HWY_ATTR { return v; };
    for (int64_t t = begin; t < end; ++t) {
      const T* x = a.inputs[0].as<T>() + t * cols;
      NormalizeRow(x, Sum(cols, same, x), gain, bias, cols, eps, a.outputs[0].as<T>() + t * cols,
                   a.outputs[1].as<float>() + 2 * t);
    }
  });
}

// A row's sum is still in the first-level cache when it is normalised.
void AddLayerNormRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.inputs[0].shape.cols();
    const float* gain = a.inputs[2].as<float>();
    const float* bias = a.inputs[3].as<float>();
    const double eps = a.op.attributes.Float("eps");
    const auto same = [](VF32 v) HWY_ATTR { return v; };
    for (int64_t t = begin; t < end; ++t) {
      T* x = a.outputs[0].as<T>() + t * cols;
      const float sum =
          AddAndSum(cols, same, x, a.inputs[0].as<T>() + t * cols, a.inputs[1].as<T>() + t * cols);
      NormalizeRow(x, sum, gain, bias, cols, eps, a.outputs[1].as<T>() + t * cols,
                   a.outputs[2].as<float>() + 2 * t);
    }
  });
}

// dx = r (s - mean(s) - n mean(s n)) with s = dy gain and n = (x - mean) r, plus the stream's gradient where
// there is one; the rows' parts of dgain and dbias go into their partial rows.
void LayerNormGradRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.inputs[0].shape.cols();
    const float* gain = a.inputs[2].as<float>();
    const auto divisor = static_cast<float>(cols);
    float* dgain = PartialSums(a, begin, 2, cols);
    float* dbias = dgain + cols;
    std::memset(dgain, 0, 2 * cols * sizeof(float));
    for (int64_t t = begin; t < end; ++t) {
      const T* dy = a.inputs[0].as<T>() + t * cols;
      const T* x = a.inputs[1].as<T>() + t * cols;
      const VF32 m = hn::Set(F32(), a.inputs[3].as<float>()[2 * t]);
      const VF32 r = hn::Set(F32(), a.inputs[3].as<float>()[2 * t + 1]);
      const GradSums sums = AddGradSums(dy, x, gain, m, r, cols, dgain, dbias);
      const VF32 mean = hn::Set(F32(), sums.scaled / divisor);
      const VF32 dot = hn::Set(F32(), sums.dot / divisor);
      const auto grad = [m, r, mean, dot](VF32 u, VF32 v, VF32 g) HWY_ATTR {
        const VF32 n = hn::Mul(hn::Sub(v, m), r);
        return hn::Mul(r, hn::NegMulAdd(n, dot, hn::MulSub(u, g, mean)));
      };
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

HWY_EXPORT(LayerNormRows);
HWY_EXPORT(AddLayerNormRows);
HWY_EXPORT(LayerNormGradRows);

void LayerNormFast(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  ForRanges(a, shape.rows(), RowsPerRange(shape.cols()), HWY_DYNAMIC_DISPATCH(LayerNormRows));
}

void AddLayerNormFast(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  ForRanges(a, shape.rows(), RowsPerRange(shape.cols()), HWY_DYNAMIC_DISPATCH(AddLayerNormRows));
}

int64_t LayerNormGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int num_threads) {
  (void)op;
  (void)outputs;
  (void)num_threads;
  return PartialSumBytes(inputs[0].shape.rows(), 2, inputs[0].shape.cols());
}

void LayerNormGradFast(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  ForRanges(a, shape.rows(), kRowsPerPartial, HWY_DYNAMIC_DISPATCH(LayerNormGradRows));
  AddPartialSums(a, shape.rows(), 2, shape.cols(), 1);
}

}  // namespace trireme
#endif  // HWY_ONCE
