#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/cpu/fast.h"
#include "runtime/cpu/ranges.h"
#include "runtime/cpu/simd_targets.h"
#include "runtime/cpu/softmax_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/cross_entropy.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, in this order.
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

template <typename T>
HWY_INLINE float Maximum(const T* row, int64_t n) {
  const F32 d;
  const int64_t lanes = NumLanes();
  VF32 even = hn::Set(d, -std::numeric_limits<float>::infinity());
  VF32 odd = even;
  int64_t i = 0;
  // A NaN may go unnoticed here: it shows in the sum of exponentials.
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    even = hn::Max(Load(row + i), even);
    odd = hn::Max(Load(row + i + lanes), odd);
  }
  float maximum = hn::GetLane(hn::MaxOfLanes(d, hn::Max(even, odd)));
  for (; i < n; ++i) maximum = std::max(maximum, static_cast<float>(row[i]));
  return maximum;
}

template <typename T>
HWY_INLINE float SumExp(const T* row, int64_t n, float maximum) {
  const F32 d;
  const int64_t lanes = NumLanes();
  const VF32 shift = hn::Set(d, maximum);
  VF32 even = hn::Zero(d);
  VF32 odd = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    even = hn::Add(even, Exp(hn::Sub(Load(row + i), shift)));
    odd = hn::Add(odd, Exp(hn::Sub(Load(row + i + lanes), shift)));
  }
  for (; i < n; i += lanes) {
    const int64_t rest = std::min(lanes, n - i);
    const VF32 x = rest < lanes ? LoadPart(row + i, rest) : Load(row + i);
    odd = hn::Add(odd, hn::IfThenElseZero(hn::FirstN(d, rest), Exp(hn::Sub(x, shift))));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
}

void SoftmaxStatisticsRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.inputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.inputs[0].shape.cols();
    const LocalVocabulary local(a, cols);
    for (int64_t t = begin; t < end; ++t) {
      const T* row = a.inputs[0].as<T>() + t * cols;
      float* statistics = a.outputs[0].as<float>() + 3 * t;
      const float maximum = Maximum(row, local.count);
      const int64_t target = local.Find(a.inputs[1].as<int32_t>()[t]);
      statistics[0] = maximum;
      statistics[1] = SumExp(row, local.count, maximum);
      statistics[2] = target < 0 ? 0 : static_cast<float>(row[target]);
    }
  });
}

void CrossEntropyGradRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.inputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.inputs[0].shape.cols();
    const int64_t rows = a.inputs[0].shape.rows();
    const LocalVocabulary local(a, cols);
    const double z_loss = ZLossOf(a.op, a.outputs[1].shape);
    for (int64_t t = begin; t < end; ++t) {
      const int32_t target = a.inputs[2].as<int32_t>()[t];
      const RowSoftmax merged = MergeRanks<float>(a.inputs[1], rows, t);
      PutLoss<float>(a.outputs[1], t, merged, target, z_loss);
      const double factor = merged.GradientFactor(z_loss);
      T* dlogits = a.outputs[0].as<T>() + t * cols;
      const int64_t count = target < 0 ? 0 : local.count;
      const VF32 shift = hn::Set(F32(), static_cast<float>(merged.maximum));
      const VF32 scale = hn::Set(F32(), static_cast<float>(factor / merged.sum));
      const auto probability = [shift, scale](VF32 x)
                                   HWY_ATTR { return hn::Mul(Exp(hn::Sub(x, shift)), scale); };
      const T* row = a.inputs[0].as<T>() + t * cols;
      // Read before dlogits may overwrite it.
      const int64_t column = count == 0 ? -1 : local.Find(target);
      const double logit = column < 0 ? 0 : static_cast<double>(static_cast<float>(row[column]));
      Map(count, probability, dlogits, row);
      if (column >= 0) {
        dlogits[column] = T(static_cast<float>(std::exp(logit - merged.maximum) / merged.sum * factor - 1));
      }
      std::memset(static_cast<void*>(dlogits + count), 0, (cols - count) * sizeof(T));
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(SoftmaxStatisticsRows);
HWY_EXPORT(CrossEntropyGradRows);

void SoftmaxStatisticsFast(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  ForRanges(a, shape.rows(), RowsPerRange(shape.cols()), HWY_DYNAMIC_DISPATCH(SoftmaxStatisticsRows));
}

void CrossEntropyGradFast(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  ForRanges(a, shape.rows(), RowsPerRange(shape.cols()), HWY_DYNAMIC_DISPATCH(CrossEntropyGradRows));
}

}  // namespace trireme
#endif  // HWY_ONCE
