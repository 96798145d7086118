#include "runtime/ops/gradient_grid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "runtime/cpu/kernel_cases.h"
#include "runtime/cpu/kernels.h"
#include "runtime/cpu/simd_targets.h"
// After simd_targets.h.
#include "hwy/targets.h"

namespace trireme {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Of the kernel's outputs, as numbers.
std::vector<std::vector<double>> Outputs(const KernelEntry& entry, const KernelCase& c,
                                         const RunOptions& options = {}) {
  std::vector<std::vector<double>> results;
  for (const TestTensor& output : RunCase(entry, c, options)) results.push_back(output.Doubles());
  return results;
}

TEST(GradientGridTest, QuantumAndLimitFollowFromTheBatch) {
  const GradientGrid one = GradientGrid::For(1, 1);
  EXPECT_EQ(one.exponent, -52);
  EXPECT_EQ(one.limit, int64_t{1} << 62);
  EXPECT_EQ(GradientGrid::For(1024, 1).exponent, -42);
  EXPECT_EQ(GradientGrid::For(1025, 1).exponent, -41);
  for (int64_t micro_batches : {1, 3, 8, 1000, 1 << 24}) {
    const int64_t tokens = 7 * micro_batches;
    const GradientGrid grid = GradientGrid::For(tokens, micro_batches);
    EXPECT_EQ(static_cast<int64_t>(static_cast<double>(grid.limit)), grid.limit);
    EXPECT_LE(static_cast<unsigned __int128>(2 * micro_batches) * static_cast<uint64_t>(grid.limit - 1),
              static_cast<uint64_t>(INT64_MAX));
    // A mean gradient of 1,000 in one micro-batch.
    EXPECT_LT(std::ldexp(1000.0 * 7, -static_cast<int>(grid.exponent)), static_cast<double>(grid.limit));
  }
}

// Tolerances hide a limb: these results are exact, in every dtype and on every instruction set.
TEST(GradientGridTest, FastKernelsHaveTheBitsOfTheirDefinition) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    for (const KernelCase& c : GridKernelCases()) {
      for (DType compute : {DType::kF32, DType::kF64}) {
        for (const bool accumulate : {false, true}) {
          const RunOptions options = {.compute = compute, .accumulate = accumulate, .before = 5};
          EXPECT_EQ(Outputs(FastKernel(c.kind), c, options), Outputs(PlainKernel(c.kind), c, options))
              << c.name << " in " << Name(compute);
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST(GradientGridTest, RoundsToEvenAndMarksWhatDoesNotFit) {
  struct Row {
    double x;
    double quanta;
    double overflow;
  };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const Row& row :
       {Row{0.25, 0, 0}, Row{0.75, 2, 0}, Row{-1.25, -2, 0}, Row{0.5, 1, 0}, Row{511.5, 1023, 0},
        Row{511.75, 0, 1}, Row{-512, 0, 1}, Row{kNaN, 0, 1}, Row{kInfinity, 0, 1}, Row{-kInfinity, 0, 1}}) {
    KernelCase c = AddToGridCase(3, true);
    c.attributes = {{"exponent", int64_t{-1}}, {"limit", int64_t{1024}}};
    c.inputs[0].values = {0, row.x, 0};
    for (const KernelEntry* entry : {&PlainKernel(c.kind), &FastKernel(c.kind)}) {
      const auto results = Outputs(*entry, c, {.accumulate = true, .before = 4});
      EXPECT_EQ(results[0], (std::vector<double>{4, 4 + row.quanta, 4})) << row.x;
      EXPECT_EQ(results[1][0], row.overflow) << row.x;
    }
    // What an earlier micro-batch has marked stays so.
    c.inputs[1].values = {1};
    EXPECT_EQ(Outputs(FastKernel(c.kind), c)[1][0], 1);
  }
}

TEST(GradientGridTest, SquaresAreCarriedIntoTheNextLimb) {
  KernelCase c = GridSquaredNormCase(40);
  c.inputs[0].values.assign(40, -0x1p62);
  c.inputs[0].values[39] = 3;
  // 39 * 2^124 + 9 = 2^129 + 2^126 + 2^125 + 2^124 + 9
  const std::vector<double> limbs = {9, 0, 0, 0x70000000, 2, 0};
  for (const KernelEntry* entry : {&PlainKernel(c.kind), &FastKernel(c.kind)}) {
    EXPECT_EQ(Outputs(*entry, c)[0], limbs);
  }
}

TEST(GradientGridTest, TheSumTakesTheMarkOfTheStepAndClearsIt) {
  KernelCase c = GridSumCase(2, true);
  c.inputs[0].values = {1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60};
  const auto results = Outputs(FastKernel(c.kind), c);
  EXPECT_EQ(results[0], (std::vector<double>{11, 22, 33, 44, 55, 66, 1}));
  EXPECT_EQ(results[1][0], 0);
}

// The squares of ranks, which their sum has to carry: however they are dealt out, one norm.
TEST(GradientGridTest, TheNormDependsOnTheSumAlone) {
  const auto norm_of = [](std::vector<double> sums) {
    KernelCase c = GridNormCase(false);
    c.inputs[0].values = std::move(sums);
    return Outputs(FastKernel(c.kind), c)[0][0];
  };
  constexpr double kBase = 0x1p32;
  constexpr int64_t kMoved = 1234567;  // no multiple of what a double of this size rounds to
  for (int seed = 0; seed < 100; ++seed) {
    const std::vector<double> high = Integers(kGridLimbs, seed, kMoved, int64_t{1} << 32);
    std::vector<double> carried = {high[0], high[1], high[2], high[3], high[4], 0, 0}, dealt_out = carried;
    for (int j = 0; j < 4; ++j) {
      dealt_out[j] += kMoved * kBase;
      dealt_out[j + 1] -= kMoved;
    }
    EXPECT_EQ(norm_of(dealt_out), norm_of(carried)) << seed;
  }
  EXPECT_EQ(norm_of({kBase + 5, 7, 0, 0, 0, 0, 0}), norm_of({5, 8, 0, 0, 0, 0, 0}));
  EXPECT_EQ(norm_of({3 * kBase, 2 * kBase, 0, 0, 0, 1, 0}), norm_of({0, 3, 2, 0, 0, 1, 0}));
  EXPECT_EQ(norm_of({0, 1, 0, 0, 0, 0, 0}), std::ldexp(1, 32 - 60));
  EXPECT_EQ(norm_of({0, 0, 0, 0, 0, 5 * kBase, 0}), std::ldexp(5, 192 - 60));
  EXPECT_EQ(norm_of({1, 0, 0, 0, 0, 0, 1}), std::numeric_limits<double>::infinity());
}

TEST(GradientGridTest, GradientsOnAGridAccumulateAsWholeNumbers) {
  constexpr int64_t kCount = 3;
  int64_t x[kCount] = {1, -(int64_t{1} << 62), 5}, y[kCount] = {2, 1, -7};
  const View from = {x, DType::kI64, {kCount}}, to = {y, DType::kI64, {kCount}};
  const Op op = {.kind = OpKind::kAccumulate, .attributes = {}};
  for (const KernelEntry* entry : {&PlainKernel(op.kind), &FastKernel(op.kind)}) {
    RunKernel(*entry, op, {from}, {to}, false);
    RunKernel(*entry, op, {from}, {to}, true);
    EXPECT_EQ(std::vector<int64_t>(y, y + kCount),
              (std::vector<int64_t>{2, std::numeric_limits<int64_t>::min(), 10}));
  }
}

}  // namespace
}  // namespace trireme
