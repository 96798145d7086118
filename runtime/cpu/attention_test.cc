#include "runtime/cpu/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "runtime/cpu/attention_tiles.h"
#include "runtime/cpu/kernels.h"
#include "runtime/cpu/simd_targets.h"
#include "runtime/cpu/test_tensor.h"
// After simd_targets.h.
#include "hwy/targets.h"

namespace trireme {
namespace {

constexpr KernelEntry kForward = {AttentionFast, AttentionFastWorkspaceBytes};
constexpr KernelEntry kBackward = {AttentionGradFast, AttentionGradFastWorkspaceBytes};

// Rounding errors of fp32 sums over a head and over the keys.
constexpr double kF32Distance = 2e-6;
// bf16 results: at most half a unit in the last of 8 bits, 2^-9, a number, and less on average.
constexpr double kBf16Distance = 2.5e-3;
// A gradient reads `out` as rounded to bf16, in out . dout, which subtracts from weights that nearly cancel.
constexpr double kBf16GradDistance = 6e-3;

// lo of sequences of these lengths, each causal, with a window of `window` tokens.
std::vector<double> Sequences(const std::vector<int>& lengths, int window = 1 << 20) {
  std::vector<double> lo;
  for (const int length : lengths) {
    const int start = static_cast<int>(lo.size());
    for (int t = start; t < start + length; ++t) lo.push_back(std::max(start, t - window + 1));
  }
  return lo;
}

struct Mask {
  std::string name;
  std::vector<double> lo;
};

std::vector<Mask> Masks() {
  return {{"one token", Sequences({1})},
          {"one tile", Sequences({64})},
          {"one sequence of an odd length", Sequences({203})},
          {"equal sequences", Sequences({128, 128})},
          {"documents packed", Sequences({3, 1, 130, 17, 64, 150, 2})},
          {"many short documents", Sequences(std::vector<int>(60, 5))},
          {"sliding window", Sequences({300}, 37)},
          {"window longer than a tile", Sequences({190, 170}, 100)},
          {"each token alone", Sequences({140}, 1)}};
}

struct Case {
  int64_t query_heads, key_heads, head_size;
};

struct Results {
  TestTensor out, lse, dqkv;
};

Results RunBoth(const KernelEntry& forward, const KernelEntry& backward, const Case& c,
                const std::vector<double>& mask, DType dtype, DType wide, int num_threads = 1) {
  const auto tokens = static_cast<int64_t>(mask.size());
  const int64_t width = c.query_heads * c.head_size;
  const Shape packed = {tokens, (c.query_heads + 2 * c.key_heads) * c.head_size};
  const Op op = {
      .kind = OpKind::kAttention,
      .attributes = {{"query_heads", c.query_heads}, {"key_heads", c.key_heads}, {"head_size", c.head_size}}};
  const TestTensor qkv = TestTensor::Random(dtype, packed, 1);
  const TestTensor dout = TestTensor::Random(dtype, {tokens, width}, 2);
  const TestTensor lo = TestTensor::Of(DType::kI32, {tokens}, mask);
  Results r = {TestTensor(dtype, {tokens, width}), TestTensor(wide, {tokens, c.query_heads}),
               TestTensor(dtype, packed)};
  RunKernel(forward, op, {qkv.view(), lo.view()}, {r.out.view(), r.lse.view()}, false, num_threads);
  RunKernel(backward, op, {dout.view(), qkv.view(), r.out.view(), r.lse.view(), lo.view()}, {r.dqkv.view()},
            false, num_threads);
  return r;
}

Results Fast(const Case& c, const std::vector<double>& mask, DType dtype, int num_threads = 1) {
  return RunBoth(kForward, kBackward, c, mask, dtype, DType::kF32, num_threads);
}

Results Plain(const Case& c, const std::vector<double>& mask) {
  return RunBoth(PlainKernel(OpKind::kAttention), PlainKernel(OpKind::kAttentionGrad), c, mask, DType::kF64,
                 DType::kF64);
}

void ExpectAgreement(const Case& c, const Mask& mask, DType dtype) {
  const Results fast = Fast(c, mask.lo, dtype, 2);
  const Results plain = Plain(c, mask.lo);
  const bool bf16 = dtype == DType::kBF16;
  const std::string what = mask.name + ", " + std::to_string(c.query_heads) + " heads on " +
                           std::to_string(c.key_heads) + " of " + std::to_string(c.head_size) + ", " +
                           Name(dtype);
  EXPECT_LT(Distance(fast.out, plain.out), bf16 ? kBf16Distance : kF32Distance) << what;
  EXPECT_LT(Distance(fast.lse, plain.lse), kF32Distance) << what;
  EXPECT_LT(Distance(fast.dqkv, plain.dqkv), bf16 ? kBf16GradDistance : kF32Distance) << what;
}

TEST(AttentionFastTest, AgreesWithThePlainKernelUnderEveryMask) {
  for (const Mask& mask : Masks()) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) ExpectAgreement({2, 1, 16}, mask, dtype);
  }
}

TEST(AttentionFastTest, AgreesWithThePlainKernelForEveryHeadSize) {
  const Mask mask = {"two sequences", Sequences({65, 140})};
  for (const int64_t head_size : {1, 7, 8, 12, 33, 64, 80, 96, 128, 192}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) ExpectAgreement({1, 1, head_size}, mask, dtype);
  }
}

TEST(AttentionFastTest, AgreesWithThePlainKernelForEveryGroupOfQueryHeads) {
  const Mask mask = {"two sequences", Sequences({70, 130})};
  const Case cases[] = {{1, 1, 16}, {4, 4, 8}, {6, 2, 24}, {8, 1, 16}};
  for (const Case& c : cases) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) ExpectAgreement(c, mask, dtype);
  }
}

// The instruction sets that this machine has, of those that the kernels were compiled for; the machine's own
// choice again at the end.
class EveryTarget {
 public:
  EveryTarget() : targets_(hwy::SupportedAndGeneratedTargets()) {}
  EveryTarget(const EveryTarget&) = delete;
  EveryTarget& operator=(const EveryTarget&) = delete;
  ~EveryTarget() { Choose(0); }

  const std::vector<int64_t>& targets() const { return targets_; }
  static void Choose(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }

 private:
  std::vector<int64_t> targets_;
};

TEST(AttentionFastTest, AgreesWithThePlainKernelOnEveryInstructionSet) {
  const EveryTarget every;
  for (const int64_t target : every.targets()) {
    EveryTarget::Choose(target);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      ExpectAgreement({4, 2, 80}, {hwy::TargetName(target), Sequences({70, 130}, 90)}, dtype);
    }
  }
}

TEST(AttentionFastTest, GivesTheSameBitsOnAnyNumberOfThreads) {
  for (const Mask& mask : Masks()) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const Results one = Fast({6, 3, 20}, mask.lo, dtype);
      for (const int threads : {2, 5}) {
        const Results many = Fast({6, 3, 20}, mask.lo, dtype, threads);
        EXPECT_TRUE(one.out.SameBits(many.out)) << mask.name << ", " << threads << " threads";
        EXPECT_TRUE(one.lse.SameBits(many.lse)) << mask.name << ", " << threads << " threads";
        EXPECT_TRUE(one.dqkv.SameBits(many.dqkv)) << mask.name << ", " << threads << " threads";
      }
    }
  }
}

TEST(AttentionFastTest, ASequenceDoesNotDependOnItsNeighbours) {
  const Case c = {2, 2, 16};
  const TestTensor alone = Fast(c, Sequences({130}), DType::kF32).out;
  const TestTensor first = Fast(c, Sequences({130, 130}), DType::kF32).out;
  for (int64_t i = 0; i < alone.size(); ++i) {
    ASSERT_EQ(alone.view().as<float>()[i], first.view().as<float>()[i]) << "element " << i;
  }
}

// Runs both kernels after `change` was made to qkv.
Results RunChanged(const std::function<void(const TestTensor&)>& change) {
  const int64_t tokens = 150;
  const Op op = {
      .kind = OpKind::kAttention,
      .attributes = {{"query_heads", int64_t{1}}, {"key_heads", int64_t{1}}, {"head_size", int64_t{16}}}};
  const TestTensor qkv = TestTensor::Random(DType::kF32, {tokens, 48}, 1);
  const TestTensor dout = TestTensor::Random(DType::kF32, {tokens, 16}, 2);
  const TestTensor lo = TestTensor::Of(DType::kI32, {tokens}, Sequences({static_cast<int>(tokens)}));
  change(qkv);
  Results r = {TestTensor(DType::kF32, {tokens, 16}), TestTensor(DType::kF32, {tokens, 1}),
               TestTensor(DType::kF32, {tokens, 48})};
  RunKernel(kForward, op, {qkv.view(), lo.view()}, {r.out.view(), r.lse.view()});
  RunKernel(kBackward, op, {dout.view(), qkv.view(), r.out.view(), r.lse.view(), lo.view()}, {r.dqkv.view()});
  return r;
}

TEST(AttentionFastTest, LargeScoresDoNotOverflow) {
  const Results r = RunChanged([](const TestTensor& qkv) {
    for (int64_t t = 0; t < 150; ++t) {
      for (int64_t i = 0; i < 32; ++i) qkv.view().as<float>()[t * 48 + i] *= 100.0f;
    }
  });
  EXPECT_TRUE(std::isfinite(Distance(r.out, r.out) + r.out.Doubles()[0]));
  for (const TestTensor* t : {&r.out, &r.lse, &r.dqkv}) {
    for (const double x : t->Doubles()) ASSERT_TRUE(std::isfinite(x));
  }
}

TEST(AttentionFastTest, ANaNReachesEveryQueryThatSeesIt) {
  const Results r = RunChanged([](const TestTensor& qkv) {
    qkv.view().as<float>()[70 * 48 + 16] = std::numeric_limits<float>::quiet_NaN();  // a key
  });
  for (int64_t t = 0; t < 150; ++t) {
    EXPECT_EQ(std::isnan(r.out.view().as<float>()[t * 16]), t >= 70) << "token " << t;
  }
}

TEST(AttentionTilesTest, StretchesSeeNothingOutsideThemselves) {
  for (const Mask& mask : Masks()) {
    const std::vector<int32_t> lo(mask.lo.begin(), mask.lo.end());
    const auto tokens = static_cast<int64_t>(lo.size());
    int64_t covered = 0, count = 0;
    ForStretches(lo.data(), tokens, [&](Range stretch) {
      EXPECT_EQ(stretch.begin, covered) << mask.name;
      covered = stretch.end;
      ++count;
      for (int64_t t = stretch.begin; t < stretch.end; ++t) EXPECT_GE(lo[t], stretch.begin) << mask.name;
    });
    EXPECT_EQ(covered, tokens) << mask.name;
    EXPECT_LE(count, MaxStretches(tokens)) << mask.name;
  }
}

TEST(AttentionTilesTest, RangesHoldWhatTheMaskLeavesAndNoMore) {
  const std::vector<double> sequences = Sequences({40, 90}, 25);
  const std::vector<int32_t> lo(sequences.begin(), sequences.end());
  const TileMask mask = {{lo.data()}, 64, 60, 32, 64};
  const auto sees = [&](int64_t q, int64_t k) { return lo[64 + q] <= 32 + k && 32 + k <= 64 + q; };
  for (int64_t k = 0; k < 64; k += kStepKeys) {
    const Range seen = mask.Queries({k, k + kStepKeys});
    for (int64_t q = 0; q < 60; ++q) {
      bool any = false;
      for (int64_t i = k; i < k + kStepKeys; ++i) any |= sees(q, i);
      EXPECT_EQ(any, q >= seen.begin && q < seen.end) << "keys from " << k << ", query " << q;
    }
  }
  for (int64_t q = 0; q < 64; q += kStepQueries) {
    const Range seen = mask.Keys({q, q + kStepQueries});
    for (int64_t k = 0; k < 64; ++k) {
      bool any = false;
      for (int64_t i = q; i < std::min<int64_t>(q + kStepQueries, 60); ++i) any |= sees(i, k);
      EXPECT_EQ(any, k >= seen.begin && k < seen.end) << "queries from " << q << ", key " << k;
    }
  }
}

}  // namespace
}  // namespace trireme
