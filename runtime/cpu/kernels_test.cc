#include "runtime/cpu/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "runtime/cpu/gemm.h"
#include "runtime/cpu/kernel_cases.h"
#include "runtime/cpu/simd.h"
#include "runtime/cpu/simd_targets.h"
#include "runtime/op_table.h"
// After simd_targets.h.
#include "hwy/targets.h"

namespace trireme {
namespace {

class KernelTest : public testing::TestWithParam<KernelCase> {
 protected:
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

// An expert's product that oneDNN may split between threads.
bool IsLargeGroupedProduct(const KernelCase& c) {
  const bool is_grouped = c.kind == OpKind::kGroupedLinear || c.kind == OpKind::kGroupedLinearInputGrad ||
                          c.kind == OpKind::kGroupedLinearWeightGrad;
  return is_grouped && c.inputs[0].shape[0] >= 300;
}

TEST_P(KernelTest, BitsDoNotDependOnTheNumberOfThreads) {
  if (IsLargeGroupedProduct(GetParam()) && !HasBf16Products()) {
    GTEST_SKIP() << "without AVX-512 oneDNN splits k between threads";
  }
  for (DType compute : {DType::kF32, DType::kBF16}) {
    for (int threads : {2, 3}) {
      ExpectSameBits(GetParam(), fast(), {.compute = compute}, {.compute = compute, .num_threads = threads});
    }
  }
  ExpectSameBits(GetParam(), plain(), {.compute = DType::kF64}, {.compute = DType::kF64, .num_threads = 3});
}

class OverwritingKernelTest : public KernelTest {};

TEST_P(OverwritingKernelTest, MayOverwriteTheInputThatTheTableNames) {
  for (const KernelEntry* entry : {&plain(), &fast()}) {
    for (DType compute : kComputeTypes) {
      ExpectSameBits(GetParam(), *entry, {.compute = compute}, {.compute = compute, .in_place = true});
    }
  }
}

class AccumulatingKernelTest : public KernelTest {};

TEST_P(AccumulatingKernelTest, AddsToParameterGradientsOnly) {
  for (const KernelEntry* entry : {&plain(), &fast()}) {
    for (DType compute : kComputeTypes) {
      ExpectAddsToParameterGradientsOnly(GetParam(), *entry, {.compute = compute});
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
    const bool none = Definition(kind).communicates || kind == OpKind::kRelabel || Definition(kind).composite;
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
    const bool none = Definition(kind).communicates || kind == OpKind::kRelabel || Definition(kind).composite;
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
  for (const KernelCase& c : CasesWithANaN()) {
    for (DType compute : {DType::kF32, DType::kBF16}) {
      ExpectGivesANaN(c, FastKernel(c.kind), {.compute = compute});
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

// Sums that bf16 has to round: the norm sees what is stored.
TEST(FastKernelsTest, AnAdditionAndItsNormHaveTheBitsOfBothApart) {
  for (KernelCase c : {AddRmsNormCase(7, 129), AddLayerNormCase(7, 129)}) {
    c.inputs[0] = RandomOperand(Role::kCompute, {7, 129}, 21);
    for (DType compute : kComputeTypes) ExpectSameBitsAsApart(c, FastKernel, {.compute = compute});
  }
}

TEST(FusedProductsTest, AMatrixsGradientMayPassWhileItsBiasIsAddedTo) {
  const KernelCase c = LinearWeightBiasGradCase(17, 9, 24);
  for (DType compute : kComputeTypes) {
    ExpectAddsToTheBiasAlone(c, FastKernel(c.kind), {.compute = compute});
    ExpectAddsToTheBiasAlone(c, PlainKernel(c.kind), {.compute = compute});
  }
}

TEST(FastKernelsTest, AdamWRoundsAsTheDefinitionDoes) {
  for (int64_t n : {1, 17, 40000}) {
    const KernelCase c = RoundedAdamWCase(n, true);
    const RunOptions options = {.compute = DType::kBF16};
    EXPECT_TRUE(
        RunCase(FastKernel(c.kind), c, options)[0].SameBits(RunCase(PlainKernel(c.kind), c, options)[0]));
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
