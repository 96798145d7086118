// Attention with slopes: what the definition means, and the fast kernels against it at many tiles and masks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "runtime/alibi.h"
#include "runtime/cpu/kernel_cases.h"
#include "runtime/cpu/kernels.h"
#include "runtime/cpu/test_tensor.h"

namespace trireme {
namespace {

// The mask of documents of these lengths, each causal, with a window of `window` tokens.
Operand MaskOf(const std::vector<int>& lengths, int window = 1 << 20) {
  std::vector<double> lo;
  for (const int length : lengths) {
    const int start = static_cast<int>(lo.size());
    for (int t = start; t < start + length; ++t) lo.push_back(std::max(start, t - window + 1));
  }
  return Operand32(lo);
}

KernelCase UnderMask(const Operand& mask, HeadShape heads) {
  KernelCase c = AlibiAttentionCase(mask.shape[0], heads);
  c.inputs[1] = mask;
  return c;
}

KernelCase GradUnderMask(const Operand& mask, HeadShape heads) {
  const KernelCase forward = UnderMask(mask, heads);
  KernelCase c = AlibiAttentionGradCase(mask.shape[0], heads);
  c.inputs[2] = Saved(forward, 0);
  c.inputs[3] = Saved(forward, 1);
  c.inputs[4] = mask;
  return c;
}

void ExpectFastIsDefined(KernelCase c, const std::string& what) {
  c.name += what;
  RoundOperands(&c);
  for (DType compute : {DType::kF32, DType::kBF16}) {
    ExpectDefined(c, FastKernel(c.kind), {.compute = compute, .num_threads = 2});
  }
}

TEST(AlibiAttentionTest, TheFastKernelsAgreeWithThePlainOnesUnderEveryMask) {
  struct Mask {
    const char* name;
    Operand lo;
  };
  const Mask masks[] = {{"one token", MaskOf({1})},
                        {"one tile", MaskOf({64})},
                        {"an odd length", MaskOf({203})},
                        {"documents", MaskOf({3, 1, 130, 17, 64, 150, 2})},
                        {"many short documents", MaskOf(std::vector<int>(60, 5))},
                        {"a window", MaskOf({300}, 37)},
                        {"documents with a window", MaskOf({190, 170}, 100)}};
  for (const Mask& mask : masks) {
    ExpectFastIsDefined(UnderMask(mask.lo, {3, 1, 7}), mask.name);
    ExpectFastIsDefined(GradUnderMask(mask.lo, {3, 1, 7}), mask.name);
  }
  for (const HeadShape heads : {HeadShape{6, 2, 24}, {2, 2, 80}}) {
    ExpectFastIsDefined(UnderMask(MaskOf({30, 110}, 100), heads), "heads");
    ExpectFastIsDefined(GradUnderMask(MaskOf({30, 110}, 100), heads), "heads");
  }
}

// out of the plain kernel in double, without its lse.
std::vector<double> PlainOut(const KernelCase& c) {
  return RunCase(PlainKernel(c.kind), c, {.compute = DType::kF64})[0].Doubles();
}

TEST(AlibiAttentionTest, ADocumentDoesNotDependOnWhereItStands) {
  const HeadShape heads = {4, 2, 8};
  KernelCase alone = UnderMask(MaskOf({30}), heads), second = UnderMask(MaskOf({40, 30}), heads);
  std::copy(second.inputs[0].values.end() - static_cast<int64_t>(alone.inputs[0].values.size()),
            second.inputs[0].values.end(), alone.inputs[0].values.begin());
  const std::vector<double> a = PlainOut(alone), b = PlainOut(second);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[b.size() - a.size() + i], 1e-12);
}

// One query that sees two keys with equal scores: the weights differ by e^slope, whatever the rest.
TEST(AlibiAttentionTest, AKeyThatIsOneTokenFartherAwayWeighsLessByItsHeadsSlope) {
  KernelCase c = UnderMask(MaskOf({2}), {3, 1, 1});
  c.inputs[0].values = {0, 0, 0, /*key*/ 0, /*value*/ 1, 0, 0, 0, 0, 0};
  const std::vector<double> out = PlainOut(c);
  const std::vector<float> slopes = AlibiSlopes(3);
  for (int h = 0; h < 3; ++h) {
    const double farther = std::exp(-static_cast<double>(slopes[h]));
    EXPECT_NEAR(out[3 + h], farther / (1 + farther), 1e-12) << "head " << h;
  }
}

TEST(AlibiAttentionTest, SlopesOfZeroChangeNoBit) {
  for (KernelCase with :
       {UnderMask(MaskOf({150, 60}), {4, 2, 20}), GradUnderMask(MaskOf({150, 60}), {4, 2, 20})}) {
    KernelCase without = with;
    without.inputs.pop_back();
    with.inputs.back().values.assign(4, 0.0);
    const std::vector<TestTensor> a = RunCase(FastKernel(with.kind), with, {}),
                                  b = RunCase(FastKernel(with.kind), without, {});
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].SameBits(b[i])) << "output " << i;
  }
}

}  // namespace
}  // namespace trireme
