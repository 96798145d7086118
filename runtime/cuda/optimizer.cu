// The update, over flat ranges of n parameters. Floors: SquaredNorm 4 n bytes; AdamW 28 n bytes (four f32
// read, three written). Everything that differs between steps is read from the device's memory.
#include "runtime/cuda/fixed_order_sum.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/parts.h"
#include "runtime/ops/optimizer.h"
#include "runtime/rounding.h"

namespace trireme {
namespace {

constexpr int kThreads = 256;
constexpr int kLanes = kVectorSize<float>;
constexpr int kAdamWBlocks = 5;               // of a multiprocessor
constexpr int kRoundedAdamWBlocks = 4;        // more registers: random words and where they are from
constexpr int64_t kElementsPerSum = 1 << 16;  // of a squared norm, that a block adds up

// sums[c] = the sum of squares of chunk c, in double. A number that is not finite makes its chunk's sum so.
template <bool kAligned>
GPU_KERNEL(kThreads)
SquaredNormKernel(int64_t n, const float* gradient, double* sums) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kElementsPerSum;
  const int64_t end = Min<int64_t>(n, begin + kElementsPerSum);
  double squares = 0;
#pragma unroll 4
  for (int64_t i = begin + threadIdx.x * kLanes; i < end; i += kThreads * kLanes) {
    const bool whole = kAligned && end - i >= kLanes;
    const Vec<float, kLanes> g =
        whole ? LoadStreaming<kLanes>(gradient + i) : LoadElements<kLanes>(gradient + i, end - i);
#pragma unroll
    for (int j = 0; j < kLanes; ++j) squares += static_cast<double>(g[j]) * static_cast<double>(g[j]);
  }
  squares = BlockSum(squares);
  if (threadIdx.x == 0) sums[blockIdx.x] = squares;
}

struct StepOptions {
  double beta1;
  double beta2;
  double clip_norm;
};

// One thread.
GPU_KERNEL(kWarpSize)
StepFactorsKernel(StepOptions options, const double* squared_norm, const double* inputs, double* updates,
                  double* factors) {
  if (threadIdx.x != 0) return;
  const double norm = sqrt(*squared_norm) / inputs[kTokens];
  const bool finite = norm - norm == 0;
  const double applied = *updates + (finite ? 1 : 0);
  *updates = applied;
  const double clip = options.clip_norm / (norm + 1e-6);
  factors[kGradientScale] = (options.clip_norm > 0 && clip < 1 ? clip : 1.0) / inputs[kTokens];
  factors[kFactorLearningRate] = inputs[kLearningRate];
  factors[kBiasCorrection1] = 1 - pow(options.beta1, applied);
  factors[kBiasCorrection2] = 1 - pow(options.beta2, applied);
  factors[kApply] = finite ? 1 : 0;
  factors[kGradientNorm] = norm;
}

struct AdamWShape {
  int64_t n;
  double beta1;
  double beta2;
  double epsilon;
  double weight_decay;
};

// A step's factors as floats.
struct AdamWFactors {
  GPU_FN AdamWFactors(const AdamWShape& s, const double* f)
      : scale(static_cast<float>(f[kGradientScale])),
        beta1(static_cast<float>(s.beta1)),
        rest1(static_cast<float>(1 - s.beta1)),
        beta2(static_cast<float>(s.beta2)),
        rest2(static_cast<float>(1 - s.beta2)),
        keep(static_cast<float>(1 - f[kFactorLearningRate] * s.weight_decay)),
        rate(static_cast<float>(f[kFactorLearningRate] / f[kBiasCorrection1])),
        correction(static_cast<float>(1 / f[kBiasCorrection2])),
        epsilon(static_cast<float>(s.epsilon)) {}
  float scale, beta1, rest1, beta2, rest2, keep, rate, correction, epsilon;
};

GPU_FN void Step(const AdamWFactors& f, float gradient, float* p, float* m, float* v) {
  const float g = gradient * f.scale;
  *m = f.beta1 * *m + f.rest1 * g;
  *v = f.beta2 * *v + f.rest2 * (g * g);
  *p = *p * f.keep - f.rate * (*m / (sqrtf(*v * f.correction) + f.epsilon));
}

// What rounds bf16 parameters: runtime/rounding.h.
struct AdamWRounding {
  const RoundingPlace* places;
  int64_t num_places;
  const double* updates;
};

// The words that a thread rounds neighbours by: it looks for their place and draws once for all of them,
// unless they lie across a border.
class RoundingWords {
 public:
  GPU_FN explicit RoundingWords(const AdamWRounding& rounding)
      : rounding_(rounding), update_(static_cast<uint64_t>(*rounding.updates)) {}

  GPU_FN uint32_t Of(int64_t i) {
    if (i < begin_ || i >= end_) FindRun(i);
    const int64_t index = index_ + (i - begin_);
    if (index / 4 != group_) {
      group_ = index / 4;
      const auto key = static_cast<uint64_t>(key_);
      words_ = RandomWords({static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)}, update_,
                           static_cast<uint64_t>(group_));
    }
    const int64_t which = index % 4;
    return which == 0 ? words_.x : which == 1 ? words_.y : which == 2 ? words_.z : words_.w;
  }

 private:
  // From i to the end of its row.
  GPU_FN void FindRun(int64_t i) {
    int64_t low = 0;
    int64_t high = rounding_.num_places;  // the place is in [low, high)
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      if (rounding_.places[middle].offset <= i) {
        low = middle;
      } else {
        high = middle;
      }
    }
    const RoundingPlace& place = rounding_.places[low];
    const int64_t row = (i - place.offset) / place.cols;
    const int64_t column = i - place.offset - row * place.cols;
    begin_ = i;
    end_ = i - column + place.cols;
    if (high < rounding_.num_places) end_ = Min(end_, rounding_.places[high].offset);
    index_ = place.first + row * place.width + column;
    if (key_ != place.key) group_ = -1;
    key_ = place.key;
  }

  const AdamWRounding& rounding_;
  uint64_t update_;
  int64_t begin_ = 0, end_ = 0;  // the run of elements that were last looked for
  int64_t index_ = 0;            // of element begin_, in its parameter
  int64_t key_ = 0;
  int64_t group_ = -1;
  uint4 words_ = {0, 0, 0, 0};
};

// As RoundStochastically, left in a float.
GPU_FN float RoundedByChance(float x, uint32_t word) {
  const uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return x;
  return __uint_as_float((bits + (word >> 16)) & 0xffff0000u);
}

// A grid that fills the card once: what a thread makes of the factors serves many vectors.
template <bool kAligned>
GPU_KERNEL(kThreads, kRoundedAdamWBlocks)
RoundedAdamWKernel(AdamWShape s, AdamWRounding rounding, const double* factors, const float* gradient,
                   bf16* p, float* m, float* v) {
  if (factors[kApply] == 0) return;
  const AdamWFactors f(s, factors);
  RoundingWords words(rounding);
  for (int64_t i = GridThread() * kLanes; i < s.n; i += GridThreads() * kLanes) {
    if (kAligned && GPU_BRANCH(whole_vectors, s.n - i >= kLanes)) {
      const Vec<float, kLanes> g = LoadStreaming<kLanes>(gradient + i);
      Vec<float, kLanes> p_lanes = ToFloat(Load<kLanes>(p + i));
      Vec<float, kLanes> m_lanes = LoadStreaming<kLanes>(m + i);
      Vec<float, kLanes> v_lanes = LoadStreaming<kLanes>(v + i);
#pragma unroll
      for (int j = 0; j < kLanes; ++j) {
        Step(f, g[j], &p_lanes[j], &m_lanes[j], &v_lanes[j]);
        p_lanes[j] = RoundedByChance(p_lanes[j], words.Of(i + j));
      }
      Store(p + i, FromFloat<bf16>(p_lanes));
      StoreStreaming(m + i, m_lanes);
      StoreStreaming(v + i, v_lanes);
    } else {
      for (int j = 0; j < kLanes && i + j < s.n; ++j) {
        float value = ToFloat(p[i + j]);
        Step(f, gradient[i + j], &value, m + i + j, v + i + j);
        p[i + j] = FromFloat<bf16>(RoundedByChance(value, words.Of(i + j)));
      }
    }
  }
}

// The same for parameters that are not rounded.
template <bool kAligned>
GPU_KERNEL(kThreads, kAdamWBlocks)
AdamWKernel(AdamWShape s, const double* factors, const float* gradient, float* p, float* m, float* v) {
  if (factors[kApply] == 0) return;
  const AdamWFactors f(s, factors);
  for (int64_t i = GridThread() * kLanes; i < s.n; i += GridThreads() * kLanes) {
    if (kAligned && GPU_BRANCH(whole_vectors, s.n - i >= kLanes)) {
      const Vec<float, kLanes> g = LoadStreaming<kLanes>(gradient + i);
      Vec<float, kLanes> p_lanes = LoadStreaming<kLanes>(p + i);
      Vec<float, kLanes> m_lanes = LoadStreaming<kLanes>(m + i);
      Vec<float, kLanes> v_lanes = LoadStreaming<kLanes>(v + i);
#pragma unroll
      for (int j = 0; j < kLanes; ++j) Step(f, g[j], &p_lanes[j], &m_lanes[j], &v_lanes[j]);
      Store(p + i, p_lanes);  // the compute copy is made of it next
      StoreStreaming(m + i, m_lanes);
      StoreStreaming(v + i, v_lanes);
    } else {
#pragma unroll
      for (int j = 0; j < kLanes; ++j) {
        if (i + j < s.n) Step(f, gradient[i + j], p + i + j, m + i + j, v + i + j);
      }
    }
  }
}

}  // namespace

int64_t SquaredNormCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                      absl::Span<const View> outputs, int num_threads) {
  (void)op;
  (void)outputs;
  (void)num_threads;
  return CeilDiv(inputs[0].shape.num_elements(), kElementsPerSum) * static_cast<int64_t>(sizeof(double));
}

void SquaredNormCuda(const KernelArguments& a) {
  const float* gradient = WideOf(a.inputs[0]);
  const int64_t n = a.inputs[0].shape.num_elements();
  const int64_t chunks = CeilDiv(n, kElementsPerSum);
  auto* sums = static_cast<double*>(a.workspace);
  const auto kernel = IsVectorAligned(gradient) ? SquaredNormKernel<true> : SquaredNormKernel<false>;
  GPU_LAUNCH(kernel, GridOf(chunks), kThreads, 0, a.stream, n, gradient, sums);
  GPU_LAUNCH(FixedOrderSumKernel<double>, 1, kSumThreads, 0, a.stream, chunks, sums,
             a.outputs[0].as<double>());
}

void StepFactorsCuda(const KernelArguments& a) {
  const Attributes& attributes = a.op.attributes;
  const StepOptions options = {attributes.Float("beta1"), attributes.Float("beta2"),
                               attributes.Float("clip_norm")};
  GPU_LAUNCH(StepFactorsKernel, 1, kWarpSize, 0, a.stream, options, a.inputs[0].as<const double>(),
             a.inputs[1].as<const double>(), a.inputs[2].as<double>(), a.outputs[0].as<double>());
}

void AdamWCuda(const KernelArguments& a) {
  const Attributes& attributes = a.op.attributes;
  const AdamWShape s = {a.inputs[0].shape.num_elements(), attributes.Float("beta1"),
                        attributes.Float("beta2"), attributes.Float("epsilon"),
                        attributes.Float("weight_decay")};
  const float* gradient = WideOf(a.inputs[0]);
  float* m = WideOf(a.inputs[2]);
  float* v = WideOf(a.inputs[3]);
  const auto* factors = a.inputs[4].as<const double>();
  const auto blocks = [&s](int most) {
    return GridOf(Min<int64_t>(CeilDiv<int64_t>(s.n, kThreads * kLanes), kTargetMultiprocessors * most));
  };
  if (a.inputs[1].dtype == DType::kBF16) {
    const AdamWRounding rounding = {a.inputs[5].as<const RoundingPlace>(), a.inputs[5].shape.rows(),
                                    a.inputs[6].as<const double>()};
    bf16* p = a.inputs[1].as<bf16>();
    const bool aligned =
        IsVectorAligned(gradient) && IsVectorAligned(p) && IsVectorAligned(m) && IsVectorAligned(v);
    const auto kernel = aligned ? RoundedAdamWKernel<true> : RoundedAdamWKernel<false>;
    GPU_LAUNCH(kernel, blocks(kRoundedAdamWBlocks), kThreads, 0, a.stream, s, rounding, factors, gradient, p,
               m, v);
    return;
  }
  float* p = WideOf(a.inputs[1]);
  const bool aligned =
      IsVectorAligned(gradient) && IsVectorAligned(p) && IsVectorAligned(m) && IsVectorAligned(v);
  const auto kernel = aligned ? AdamWKernel<true> : AdamWKernel<false>;
  GPU_LAUNCH(kernel, blocks(kAdamWBlocks), kThreads, 0, a.stream, s, factors, gradient, p, m, v);
}

}  // namespace trireme
