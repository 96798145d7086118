// The plain gradient kernels against central differences of the plain forward kernels, in double.
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/cpu/kernel_cases.h"
#include "runtime/cpu/kernels.h"
#include "runtime/cpu/tolerances.h"
#include "runtime/ops/cross_entropy.h"

namespace trireme {
namespace {

constexpr RunOptions kDouble = {.compute = DType::kF64};

std::vector<double> RunPlain(const KernelCase& c, int output) {
  return RunCase(PlainKernel(c.kind), c, kDouble)[output].Doubles();
}

// sum_i weights[i] y[i] for output 0 of the forward kernel.
double Weighted(const KernelCase& forward, const std::vector<double>& weights) {
  const std::vector<double> y = RunPlain(forward, 0);
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i) sum += weights[i] * y[i];
  return sum;
}

// `gradient` is that of the sum of dy y, with respect to forward's input number `input`.
void ExpectGradient(KernelCase forward, int input, const std::vector<double>& dy,
                    const std::vector<double>& gradient) {
  constexpr double kStep = 1e-5;
  std::vector<double>& x = forward.inputs[input].values;
  ASSERT_EQ(gradient.size(), x.size());
  double scale = 0;
  for (double g : gradient) scale += g * g;
  scale = std::sqrt(scale / static_cast<double>(gradient.size()));
  ASSERT_GT(scale, 0);
  for (size_t i = 0; i < x.size(); ++i) {
    const double before = x[i];
    x[i] = before + kStep;
    const double above = Weighted(forward, dy);
    x[i] = before - kStep;
    const double below = Weighted(forward, dy);
    x[i] = before;
    EXPECT_NEAR(gradient[i], (above - below) / (2 * kStep),
                kDifferenceTolerance * (1 + scale + std::abs(gradient[i])))
        << "element " << i << " of input " << input;
  }
}

TEST(GradientTest, OfLinearMatchesDifferences) {
  const KernelCase forward = LinearCase(5, 3, 7, true);
  KernelCase input = LinearInputGradCase(5, 3, 7);
  KernelCase weight = LinearWeightGradCase(5, 3, 7);
  KernelCase bias = ColumnSumCase(5, 3);
  input.inputs[1] = forward.inputs[1];
  weight.inputs[1] = forward.inputs[0];
  const std::vector<double> dy = input.inputs[0].values;
  ASSERT_EQ(dy, weight.inputs[0].values);
  ASSERT_EQ(dy, bias.inputs[0].values);
  ExpectGradient(forward, 0, dy, RunPlain(input, 0));
  ExpectGradient(forward, 1, dy, RunPlain(weight, 0));
  ExpectGradient(forward, 2, dy, RunPlain(bias, 0));
}

TEST(GradientTest, OfGeluMatchesDifferences) {
  const KernelCase backward = GeluGradCase(3, 9);
  ExpectGradient(GeluCase(3, 9), 0, backward.inputs[0].values, RunPlain(backward, 0));
}

TEST(GradientTest, OfSwiGluMatchesDifferences) {
  const KernelCase backward = SwiGluGradCase(3, 9);
  ExpectGradient(SwiGluCase(3, 9), 0, backward.inputs[0].values, RunPlain(backward, 0));
}

TEST(GradientTest, OfSharedRowsMatchesDifferences) {
  const KernelCase backward = SharedRowsGradCase(2, 3);
  ExpectGradient(SharedRowsCase(2, 3), 0, backward.inputs[0].values, RunPlain(backward, 0));
}

TEST(GradientTest, OfConcatColumnsMatchesDifferences) {
  const KernelCase backward = SplitColumnsCase(3, 2, 5);
  for (int input : {0, 1}) {
    ExpectGradient(ConcatColumnsCase(3, 2, 5), input, backward.inputs[0].values, RunPlain(backward, input));
  }
}

TEST(GradientTest, OfDropoutIsDropoutOfTheGradient) {
  const KernelCase forward = DropoutCase(3, 9);
  KernelCase backward = forward;
  backward.inputs[0] = RandomOperand(Role::kCompute, {3, 9}, 7);
  ExpectGradient(forward, 0, backward.inputs[0].values, RunPlain(backward, 0));
}

TEST(GradientTest, OfRmsNormMatchesDifferences) {
  const KernelCase backward = RmsNormGradCase(4, 9);
  for (int input : {0, 1}) {
    ExpectGradient(RmsNormCase(4, 9), input, backward.inputs[0].values, RunPlain(backward, input));
  }
}

TEST(GradientTest, OfLayerNormMatchesDifferences) {
  const KernelCase backward = LayerNormGradCase(4, 9);
  for (int input : {0, 1, 2}) {
    ExpectGradient(LayerNormCase(4, 9), input, backward.inputs[0].values, RunPlain(backward, input));
  }
}

TEST(GradientTest, OfRopeTurnsBack) {
  const HeadShape heads = {2, 1, 4};
  KernelCase backward = RopeCase(6, heads, true);
  backward.inputs[0] = RandomOperand(Role::kCompute, {6, heads.columns()}, 7);
  ExpectGradient(RopeCase(6, heads, false), 0, backward.inputs[0].values, RunPlain(backward, 0));
}

TEST(GradientTest, OfAttentionMatchesDifferences) {
  const HeadShape heads = {4, 2, 3};
  const KernelCase backward = AttentionGradCase(13, heads);
  ExpectGradient(AttentionCase(13, heads), 0, backward.inputs[0].values, RunPlain(backward, 0));
}

TEST(GradientTest, OfAttentionWithSlopesMatchesDifferences) {
  const HeadShape heads = {6, 2, 3};
  const KernelCase backward = AlibiAttentionGradCase(13, heads);
  ExpectGradient(AlibiAttentionCase(13, heads), 0, backward.inputs[0].values, RunPlain(backward, 0));
}

TEST(GradientTest, OfEmbeddingMatchesDifferences) {
  for (bool sharded : {false, true}) {
    const KernelCase backward = EmbeddingGradCase(12, 5, 3, sharded);
    ExpectGradient(EmbeddingCase(12, 5, 3, sharded), 1, backward.inputs[0].values, RunPlain(backward, 0));
  }
}

TEST(GradientTest, OfTheRouterMatchesDifferences) {
  const KernelCase backward = RouterGradCase(6, 5, 2);
  ExpectGradient(RouterCase(6, 5, 2), 0, backward.inputs[0].values, RunPlain(backward, 0));
}

TEST(GradientTest, OfTheRoutersLossMatchesDifferencesAndYieldsTheLoss) {
  const KernelCase backward = RouterLossGradCase(6, 5, 2);
  ExpectGradient(RouterLossCase(6, 5, 2), 0, std::vector<double>(6, 1), RunPlain(backward, 1));
  EXPECT_EQ(RunPlain(backward, 0), RunPlain(RouterLossCase(6, 5, 2), 0));
}

TEST(GradientTest, OfPermutedRowsMatchesDifferences) {
  for (const bool drops : {false, true}) {
    const KernelCase backward = PermuteRowsGradCase(6, 5, 2, drops);
    const KernelCase forward = PermuteRowsCase(6, 5, 2, drops);
    ExpectGradient(forward, 0, backward.inputs[0].values, RunPlain(backward, 0));
  }
}

TEST(GradientTest, OfCombinedRowsMatchesDifferences) {
  for (const bool drops : {false, true}) {
    const KernelCase backward = CombineRowsGradCase(6, 5, 2, drops);
    // Rows of dropped choices are not written.
    const std::vector<TestTensor> gradients =
        RunCase(PlainKernel(backward.kind), backward, {.compute = DType::kF64, .before = 0});
    for (int input : {0, 1}) {
      ExpectGradient(CombineRowsCase(6, 5, 2, drops), input, backward.inputs[0].values,
                     gradients[input].Doubles());
    }
  }
}

TEST(GradientTest, OfGroupedLinearMatchesDifferences) {
  const KernelCase forward = GroupedLinearCase(7, 3, 5);
  const KernelCase input = GroupedLinearInputGradCase(7, 3, 5), weight = GroupedLinearWeightGradCase(7, 3, 5);
  ExpectGradient(forward, 0, input.inputs[0].values, RunPlain(input, 0));
  ExpectGradient(forward, 1, weight.inputs[0].values, RunPlain(weight, 0));
}

// The loss of one rank through its statistics; the other rank's are constants.
void ExpectCrossEntropyMatchesDifferences(double z_loss) {
  constexpr int64_t kRows = 4;
  constexpr double kStep = 1e-5;
  const KernelCase backward = CrossEntropyGradCase(kRows, 6, 2, z_loss);
  const std::vector<double> gradient = RunPlain(backward, 0);
  KernelCase statistics = SoftmaxStatisticsCase(kRows, 6, 2);
  KernelCase loss = CrossEntropyLossCase(kRows, 6, 2, z_loss);
  const auto total = [&] {
    const std::vector<double> own = RunPlain(statistics, 0);
    std::copy(own.begin(), own.end(), loss.inputs[0].values.begin() + 3 * kRows);
    double sum = 0;
    for (double l : RunPlain(loss, 0)) sum += l;
    return sum;
  };
  std::vector<double>& logits = statistics.inputs[0].values;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double before = logits[i];
    logits[i] = before + kStep;
    const double above = total();
    logits[i] = before - kStep;
    const double below = total();
    logits[i] = before;
    EXPECT_NEAR(gradient[i], (above - below) / (2 * kStep), kDifferenceTolerance) << "element " << i;
  }
}

TEST(GradientTest, OfCrossEntropyMatchesDifferences) {
  ExpectCrossEntropyMatchesDifferences(0);
}

TEST(GradientTest, OfTheZLossMatchesDifferences) {
  ExpectCrossEntropyMatchesDifferences(0.25);
}

TEST(GradientTest, OfCrossEntropyYieldsBothTermsOfTheLoss) {
  const std::vector<double> terms = RunPlain(CrossEntropyLossCase(7, 6, 2, 0.25), 0);
  EXPECT_EQ(RunPlain(CrossEntropyGradCase(7, 6, 2, 0.25), 1), terms);
  const std::vector<double> loss = RunPlain(CrossEntropyLossCase(7, 6, 2), 0);
  for (size_t t = 0; t < loss.size(); ++t) EXPECT_EQ(terms[kNumLossTerms * t], loss[t]);
  EXPECT_EQ(terms[kNumLossTerms + kZLossTerm], 0) << "its target is negative";
}

TEST(GradientTest, OfCrossEntropyYieldsTheLoss) {
  const std::vector<double> wanted = RunPlain(CrossEntropyLossCase(7, 6, 2), 0);
  EXPECT_EQ(RunPlain(CrossEntropyGradCase(7, 6, 2), 1), wanted);
  EXPECT_EQ(wanted[1], 0) << "its target is negative";
}

}  // namespace
}  // namespace trireme
