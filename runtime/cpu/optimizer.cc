#include "runtime/ops/optimizer.h"

#include "runtime/cpu/fast.h"
#include "runtime/cpu/ranges.h"
#include "runtime/cpu/simd_targets.h"
#include "runtime/rounding.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/optimizer.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, in this order.
#include "hwy/highway.h"
#include "runtime/cpu/philox-inl.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

// Sums the squares of one range in double and writes them to the range's place in the workspace.
void SquaredNormRange(const KernelArguments& a, int64_t begin, int64_t end) {
  constexpr int kSums = 4;  // independent, so that additions need not wait for each other
  const hn::ScalableTag<double> f64;
  const hn::Rebind<float, decltype(f64)> f32;
  const auto lanes = static_cast<int64_t>(hn::Lanes(f64));
  const float* gradient = a.inputs[0].as<float>();
  hn::Vec<decltype(f64)> sums[kSums] = {hn::Zero(f64), hn::Zero(f64), hn::Zero(f64), hn::Zero(f64)};
  int64_t i = begin;
  for (; i + kSums * lanes <= end; i += kSums * lanes) {
    for (int j = 0; j < kSums; ++j) {
      const auto g = hn::PromoteTo(f64, hn::LoadU(f32, gradient + i + j * lanes));
      sums[j] = hn::MulAdd(g, g, sums[j]);
    }
  }
  double rest = 0;
  for (; i < end; ++i) rest += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
  const auto sum = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
  static_cast<double*>(a.workspace)[begin / kElementsPerSum] = hn::GetLane(hn::SumOfLanes(f64, sum)) + rest;
}

// The factors of a step, a lane each.
struct AdamWFactors {
  explicit AdamWFactors(const KernelArguments& a) {
    const double* f = a.inputs[4].as<double>();
    const Attributes& attributes = a.op.attributes;
    const auto set = [](double value) HWY_ATTR { return hn::Set(F32(), static_cast<float>(value)); };
    scale = set(f[kGradientScale]);
    beta1 = set(attributes.Float("beta1"));
    rest1 = set(1 - attributes.Float("beta1"));
    beta2 = set(attributes.Float("beta2"));
    rest2 = set(1 - attributes.Float("beta2"));
    keep = set(1 - f[kFactorLearningRate] * attributes.Float("weight_decay"));
    rate = set(f[kFactorLearningRate] / f[kBiasCorrection1]);
    correction = set(1 / f[kBiasCorrection2]);
    epsilon = set(attributes.Float("epsilon"));
  }
  VF32 scale, beta1, rest1, beta2, rest2, keep, rate, correction, epsilon;
};

HWY_INLINE void AdamWStep(const AdamWFactors& f, VF32 gradient, VF32* p, VF32* m, VF32* v) {
  const VF32 g = hn::Mul(gradient, f.scale);
  *m = hn::MulAdd(f.beta1, *m, hn::Mul(f.rest1, g));
  *v = hn::MulAdd(f.beta2, *v, hn::Mul(f.rest2, hn::Mul(g, g)));
  const VF32 root = hn::Add(hn::Sqrt(hn::Mul(*v, f.correction)), f.epsilon);
  *p = hn::NegMulAdd(f.rate, hn::Div(*m, root), hn::Mul(*p, f.keep));
}

// RoundStochastically of each lane.
HWY_INLINE VF32 RoundedByChance(VF32 x, const uint32_t* words) {
  const U32 u32;
  const auto bits = hn::BitCast(u32, x);
  const auto moved = hn::Add(bits, hn::ShiftRight<16>(hn::LoadU(u32, words)));
  const VF32 rounded = hn::BitCast(F32(), hn::And(moved, hn::Set(u32, 0xffff0000u)));
  return hn::IfThenElse(hn::IsFinite(x), rounded, x);
}

// n <= NumLanes() elements from i on, rounded by `words`.
HWY_INLINE void RoundedAdamWStep(const AdamWFactors& factors, const KernelArguments& a, int64_t i, int64_t n,
                                 const uint32_t* words) {
  const float* gradient = a.inputs[0].as<float>() + i;
  Bf16* p = a.inputs[1].as<Bf16>() + i;
  float* m = a.inputs[2].as<float>() + i;
  float* v = a.inputs[3].as<float>() + i;
  const bool whole = n == NumLanes();
  VF32 p_lanes = whole ? Load(p) : LoadPart(p, n);
  VF32 m_lanes = whole ? Load(m) : LoadPart(m, n);
  VF32 v_lanes = whole ? Load(v) : LoadPart(v, n);
  AdamWStep(factors, whole ? Load(gradient) : LoadPart(gradient, n), &p_lanes, &m_lanes, &v_lanes);
  p_lanes = RoundedByChance(p_lanes, words);
  if (whole) {
    Store(p_lanes, p);
    Store(m_lanes, m);
    Store(v_lanes, v);
  } else {
    StorePart(p_lanes, p, n);
    StorePart(m_lanes, m, n);
    StorePart(v_lanes, v, n);
  }
}

// Elements that follow each other in their parameter too take their words in one go.
void RoundedAdamWRange(const KernelArguments& a, int64_t begin, int64_t end) {
  const AdamWFactors factors(a);
  const auto* places = a.inputs[5].as<RoundingPlace>();
  const int64_t num_places = a.inputs[5].shape.rows();
  const auto update = static_cast<uint64_t>(*a.inputs[6].as<double>());
  const RoundingPlace* place = FindRoundingPlace(places, num_places, begin);
  HWY_ALIGN uint32_t words[kMaxWords + HWY_MAX_BYTES / sizeof(uint32_t)] = {};
  for (int64_t i = begin; i < end;) {
    const bool last = place + 1 == places + num_places;
    const int64_t row_end = i + place->cols - (i - place->offset) % place->cols;
    const int64_t run_end = std::min({end, row_end, last ? end : place[1].offset});
    const RoundKeys keys(place->PhiloxKey());
    int64_t index = place->IndexOf(i);
    while (i < run_end) {
      DrawWords(keys, update, static_cast<uint64_t>(index / 4), words);
      const int64_t skipped = index % 4;
      const int64_t drawn = std::min(WordsAtATime() - skipped, run_end - i);
      for (int64_t j = 0; j < drawn; j += NumLanes()) {
        RoundedAdamWStep(factors, a, i + j, std::min(NumLanes(), drawn - j), words + skipped + j);
      }
      i += drawn;
      index += drawn;
    }
    if (!last && i == place[1].offset) ++place;
  }
}

void AdamWRange(const KernelArguments& a, int64_t begin, int64_t end) {
  const AdamWFactors factors(a);
  const float* gradient = a.inputs[0].as<float>();
  float* p = a.inputs[1].as<float>();
  float* m = a.inputs[2].as<float>();
  float* v = a.inputs[3].as<float>();
  const int64_t lanes = NumLanes();
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    VF32 p_lanes = Load(p + i);
    VF32 m_lanes = Load(m + i);
    VF32 v_lanes = Load(v + i);
    AdamWStep(factors, Load(gradient + i), &p_lanes, &m_lanes, &v_lanes);
    Store(p_lanes, p + i);
    Store(m_lanes, m + i);
    Store(v_lanes, v + i);
  }
  if (const int64_t rest = end - i; rest > 0) {
    VF32 p_lanes = LoadPart(p + i, rest);
    VF32 m_lanes = LoadPart(m + i, rest);
    VF32 v_lanes = LoadPart(v + i, rest);
    AdamWStep(factors, LoadPart(gradient + i, rest), &p_lanes, &m_lanes, &v_lanes);
    StorePart(p_lanes, p + i, rest);
    StorePart(m_lanes, m + i, rest);
    StorePart(v_lanes, v + i, rest);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(SquaredNormRange);
HWY_EXPORT(AdamWRange);
HWY_EXPORT(RoundedAdamWRange);

int64_t SquaredNormFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                      absl::Span<const View> outputs, int num_threads) {
  (void)op;
  (void)outputs;
  (void)num_threads;
  return NumRanges(inputs[0].shape.num_elements(), kElementsPerSum) * static_cast<int64_t>(sizeof(double));
}

void SquaredNormFast(const KernelArguments& a) {
  const int64_t n = a.inputs[0].shape.num_elements();
  ForRanges(a, n, kElementsPerSum, HWY_DYNAMIC_DISPATCH(SquaredNormRange));
  double sum = 0;
  for (int64_t i = 0; i < NumRanges(n, kElementsPerSum); ++i) sum += static_cast<double*>(a.workspace)[i];
  *a.outputs[0].as<double>() = sum;
}

void AdamWFast(const KernelArguments& a) {
  if (a.inputs[4].as<double>()[kApply] == 0) return;
  const int64_t n = a.inputs[0].shape.num_elements();
  if (a.inputs[1].dtype == DType::kBF16) {
    ForRanges(a, n, kElementsPerRange, HWY_DYNAMIC_DISPATCH(RoundedAdamWRange));
  } else {
    ForRanges(a, n, kElementsPerRange, HWY_DYNAMIC_DISPATCH(AdamWRange));
  }
}

}  // namespace trireme
#endif  // HWY_ONCE
