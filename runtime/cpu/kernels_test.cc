#include "runtime/cpu/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "runtime/cpu/kernel_cases.h"
#include "runtime/cpu/simd.h"
#include "runtime/cpu/simd_targets.h"
#include "runtime/cpu/tolerances.h"
#include "runtime/op_table.h"
// After simd_targets.h.
#include "hwy/targets.h"

namespace trireme {
namespace {

double RootMeanSquare(const std::vector<double>& values) {
  double squares = 0;
  int64_t count = 0;
  for (double v : values) {
    if (!std::isfinite(v)) continue;
    squares += v * v;
    ++count;
  }
  return count == 0 ? 0 : std::sqrt(squares / static_cast<double>(count));
}

// The largest distance of an element (tolerances.h); infinite where one is finite and the other is not.
double Farthest(const std::vector<double>& a, const std::vector<double>& b) {
  const double scale = RootMeanSquare(b);
  double farthest = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    if (a[i] == b[i]) continue;
    const double distance = std::abs(a[i] - b[i]) / (std::abs(b[i]) + scale);
    farthest = std::isfinite(distance) ? std::max(farthest, distance) : HUGE_VAL;
  }
  return farthest;
}

// Compares every output with the definition.
void ExpectDefined(const KernelCase& c, const KernelEntry& entry, const RunOptions& options) {
  const std::vector<TestTensor> wanted = RunCase(PlainKernel(c.kind), c, {.compute = DType::kF64});
  const std::vector<TestTensor> got = RunCase(entry, c, options);
  for (size_t i = 0; i < wanted.size(); ++i) {
    const DType stored = DTypeOf(c.outputs[i].role, options.compute);
    EXPECT_LE(Farthest(got[i].Doubles(), wanted[i].Doubles()), ToleranceOf(c.kind, stored, options.compute))
        << c.name << ", output " << i << " in " << Name(options.compute);
  }
}

class KernelTest : public testing::TestWithParam<KernelCase> {
 protected:
  void ExpectSameBits(const KernelEntry& entry, const RunOptions& a, const RunOptions& b) {
    const std::vector<TestTensor> first = RunCase(entry, GetParam(), a);
    const std::vector<TestTensor> second = RunCase(entry, GetParam(), b);
    for (size_t i = 0; i < first.size(); ++i) {
      EXPECT_TRUE(first[i].SameBits(second[i])) << "output " << i << " in " << Name(a.compute);
    }
  }

  const KernelEntry& plain() const { return PlainKernel(GetParam().kind); }
  const KernelEntry& fast() const { return FastKernel(GetParam().kind); }
};

constexpr DType kComputeTypes[] = {DType::kF32, DType::kBF16, DType::kF64};

TEST_P(KernelTest, PlainKernelRoundsItsDefinition) {
  for (DType compute : kComputeTypes) ExpectDefined(GetParam(), plain(), {.compute = compute});
}

TEST_P(KernelTest, FastKernelMatchesItsDefinition) {
  for (DType compute : kComputeTypes) ExpectDefined(GetParam(), fast(), {.compute = compute});
}

TEST_P(KernelTest, BitsDoNotDependOnTheNumberOfThreads) {
  for (DType compute : {DType::kF32, DType::kBF16}) {
    for (int threads : {2, 3}) {
      ExpectSameBits(fast(), {.compute = compute}, {.compute = compute, .num_threads = threads});
    }
  }
  ExpectSameBits(plain(), {.compute = DType::kF64}, {.compute = DType::kF64, .num_threads = 3});
}

class OverwritingKernelTest : public KernelTest {};

TEST_P(OverwritingKernelTest, MayOverwriteTheInputThatTheTableNames) {
  for (const KernelEntry* entry : {&plain(), &fast()}) {
    for (DType compute : kComputeTypes) {
      ExpectSameBits(*entry, {.compute = compute}, {.compute = compute, .in_place = true});
    }
  }
}

class AccumulatingKernelTest : public KernelTest {};

TEST_P(AccumulatingKernelTest, AddsToParameterGradientsOnly) {
  const KernelCase& c = GetParam();
  const unsigned accumulates = Definition(c.kind).accumulates;
  for (const KernelEntry* entry : {&plain(), &fast()}) {
    for (DType compute : kComputeTypes) {
      constexpr double kBefore = 8;
      const auto overwritten = RunCase(*entry, c, {.compute = compute, .before = kBefore});
      const auto added = RunCase(*entry, c, {.compute = compute, .accumulate = true, .before = kBefore});
      for (size_t i = 0; i < added.size(); ++i) {
        std::vector<double> wanted = overwritten[i].Doubles();
        if ((accumulates >> i & 1) == 0) {
          EXPECT_TRUE(added[i].SameBits(overwritten[i])) << "output " << i;
          continue;
        }
        for (double& v : wanted) v += kBefore;
        const DType stored = DTypeOf(c.outputs[i].role, compute);
        EXPECT_LE(Farthest(added[i].Doubles(), wanted), ToleranceOf(c.kind, stored, compute))
            << "output " << i;
      }
    }
  }
}

std::string CaseName(const testing::TestParamInfo<KernelCase>& info) {
  return absl::StrCat(info.param.name, "_n", info.index);
}

template <typename Wanted>
std::vector<KernelCase> CasesWhere(Wanted wanted) {
  std::vector<KernelCase> cases = AllKernelCases();
  cases.erase(std::remove_if(cases.begin(), cases.end(),
                             [&](const KernelCase& c) { return !wanted(Definition(c.kind)); }),
              cases.end());
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Every, KernelTest, testing::ValuesIn(AllKernelCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(
    Every, OverwritingKernelTest,
    testing::ValuesIn(CasesWhere([](const OpDefinition& d) { return d.overwrites >= 0; })), CaseName);
INSTANTIATE_TEST_SUITE_P(
    Every, AccumulatingKernelTest,
    testing::ValuesIn(CasesWhere([](const OpDefinition& d) { return d.accumulates != 0; })), CaseName);

TEST(KernelTableTest, EveryKindHasAKernelOrIsKnownToHaveNone) {
  for (int i = 0; i < kNumOpKinds; ++i) {
    const auto kind = static_cast<OpKind>(i);
    const bool none = Definition(kind).communicates || kind == OpKind::kRelabel ||
                      kind == OpKind::kLinearCrossEntropy || kind == OpKind::kLinearCrossEntropyGrad;
    if (none) {
      EXPECT_DEATH(PlainKernel(kind), "has no kernel");
      EXPECT_DEATH(FastKernel(kind), "has no kernel");
    } else {
      EXPECT_NE(PlainKernel(kind).run, nullptr);
      EXPECT_NE(FastKernel(kind).run, nullptr);
    }
  }
}

TEST(KernelTableTest, EveryKernelHasACase) {
  std::vector<bool> seen(kNumOpKinds);
  for (const KernelCase& c : AllKernelCases()) seen[static_cast<int>(c.kind)] = true;
  for (int i = 0; i < kNumOpKinds; ++i) {
    const auto kind = static_cast<OpKind>(i);
    const bool none = Definition(kind).communicates || kind == OpKind::kRelabel ||
                      kind == OpKind::kLinearCrossEntropy || kind == OpKind::kLinearCrossEntropyGrad;
    EXPECT_NE(seen[i], none) << Name(kind);
  }
}

TEST(FastKernelsTest, MatchTheirDefinitionOnEveryInstructionSet) {
  std::set<std::string> names;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(SimdName());
    names.insert(SimdName());
    for (const KernelCase& c : AllKernelCases()) {
      for (DType compute : {DType::kF32, DType::kBF16})
        ExpectDefined(c, FastKernel(c.kind), {.compute = compute});
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  EXPECT_GE(names.size(), 2) << "the baseline and what this machine adds";
}

// A step whose gradient is not finite is skipped: that only works if nothing on the way hides a NaN.
TEST(FastKernelsTest, PassOnANaN) {
  for (KernelCase c :
       {GeluCase(3, 41), GeluGradCase(3, 41), SwiGluCase(3, 41), SwiGluGradCase(3, 41), RmsNormCase(3, 41),
        RmsNormGradCase(3, 41), LayerNormCase(3, 41), LayerNormGradCase(3, 41), AddCase(3, 41),
        CastCase(Role::kWide, Role::kCompute, 123), ColumnSumCase(3, 41), SoftmaxStatisticsCase(3, 41, 1),
        CrossEntropyGradCase(3, 41, 1), SquaredNormCase(123), EmbeddingGradCase(3, 7, 41, false),
        RopeCase(3, {1, 1, 34}, false)}) {
    for (DType compute : {DType::kF32, DType::kBF16}) {
      // The last column of the logits is padding.
      for (int64_t at : {int64_t{0}, c.inputs[0].shape.num_elements() - 2}) {
        KernelCase broken = c;
        broken.inputs[0].values[at] = std::nan("");
        int count = 0;
        for (const TestTensor& output : RunCase(FastKernel(c.kind), broken, {.compute = compute})) {
          for (double v : output.Doubles()) count += std::isnan(v) ? 1 : 0;
        }
        EXPECT_GT(count, 0) << c.name << " in " << Name(compute) << ", element " << at;
      }
    }
  }
}

TEST(FastKernelsTest, CastRoundsEveryKindOfNumberAsBf16Does) {
  // NaNs with every payload, infinities, the largest number (which rounds up to infinity), ties to both
  // sides, subnormals.
  const uint32_t bits[] = {0x7fffffff, 0xffffffff, 0x7f800001, 0xff80ffff, 0x7fc00000, 0x7f800000,
                           0xff800000, 0x7f7fffff, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff,
                           0x00000001, 0x00008000, 0x80018000, 0x80000000};
  constexpr int64_t kCount = std::size(bits);
  Bf16 rounded[kCount];
  const View from = {const_cast<uint32_t*>(bits), DType::kF32, {kCount}};
  const View to = {rounded, DType::kBF16, {kCount}};
  const Op op = {.kind = OpKind::kCast, .attributes = {}};
  FastKernel(OpKind::kCast).run({op, {&from, 1}, {&to, 1}, false, nullptr, {}, {{0, 0, 0, 0}}, 1});
  for (int64_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(rounded[i].bits, Bf16(std::bit_cast<float>(bits[i])).bits) << std::hex << bits[i];
  }
}

TEST(FastKernelsTest, DropoutKeepsWhatTheDefinitionKeeps) {
  const KernelCase c = DropoutCase(33, 1001);
  const std::vector<double> plain = RunCase(PlainKernel(c.kind), c, {})[0].Doubles();
  const std::vector<double> fast = RunCase(FastKernel(c.kind), c, {})[0].Doubles();
  int64_t dropped = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_EQ(plain[i] == 0, fast[i] == 0) << i;
    dropped += plain[i] == 0 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(dropped) / static_cast<double>(plain.size()), 0.3, 0.01);
}

}  // namespace
}  // namespace trireme
