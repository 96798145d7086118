// What Differentiate makes of a Program beside numbers: who writes a gradient, what is left out, what is
// refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/autograd.h"
#include "runtime/op_table.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/gather_rows.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/program_test_util.h"
#include "runtime/recording_test_util.h"

namespace trireme {
namespace {

TEST(AutogradSeedTest, ASeedIsTheGradientOfItsValue) {
  Recording r;
  const Tensor w = r.P("w", {4, 3});
  const Tensor y = Linear(r.X({5, 3}), w);
  const Tensor dy = r.recorder().Input("dy", DType::kF64, y.shape(), {});
  const std::vector<ValueId> gradients = Differentiate(r.recorder(), {{y.id(), dy.id()}});
  EXPECT_EQ(gradients[y.id()], dy.id());
  EXPECT_EQ(gradients[w.id()], r.program().parameters[0].gradient);
  EXPECT_EQ(gradients[r.program().stage_input], r.program().stage_input_gradient);
  ProgramRun run(r.program());
  run.Run();
  const std::vector<double>& x = run.given(r.program().stage_input);
  const std::vector<double>& seed = run.given(dy.id());
  const std::vector<double> dw = run.Get(r.program().parameters[0].gradient);
  for (int n = 0; n < 4; ++n) {
    for (int k = 0; k < 3; ++k) {
      double sum = 0;
      for (int t = 0; t < 5; ++t) sum += seed[t * 4 + n] * x[t * 3 + k];
      EXPECT_NEAR(dw[n * 3 + k], sum, 1e-12);
    }
  }
}

TEST(AutogradStructureTest, AWeightGradientIsWrittenInPlaceByTheOpThatMakesIt) {
  Recording r;
  const Tensor w = r.P("w", {4, 3}), bias = r.P("b", {4});
  Finish(r, Linear(r.X({5, 3}), w, bias));
  std::vector<OpKind> kinds;
  for (const Op& op : r.program().segments[1].ops) kinds.push_back(op.kind);
  EXPECT_THAT(kinds,
              testing::ElementsAre(OpKind::kLinearInputGrad, OpKind::kLinearWeightGrad, OpKind::kColumnSum));
  const Value& gradient = r.program().value(r.program().parameters[0].gradient);
  EXPECT_EQ(gradient.kind, ValueKind::kParameterGradient);
  EXPECT_EQ(gradient.name, "d.w");
}

TEST(AutogradStructureTest, OnlyLaterWritersOfATiedGradientAlwaysAdd) {
  Recording r;
  const Tensor h = Linear(r.X({3, 4}), r.P("w", {4, 4}));
  Finish(r, Linear(h, r.P("w", {4, 4})));
  std::vector<bool> adds;
  for (const Op& op : r.program().segments[1].ops) {
    if (op.kind == OpKind::kLinearWeightGrad) adds.push_back(op.always_accumulates);
  }
  EXPECT_THAT(adds, testing::ElementsAre(false, true));
}

TEST(AutogradStructureTest, BackwardOfARootYieldsTheLossAndForwardHasNone) {
  Recording r;
  HeadOf(r, r.X({9, 3}, kReplicated), r.P("w", {16, 3}, kVocabulary), 16);
  Differentiate(r.recorder());
  EXPECT_TRUE(r.program().segments[0].ops.empty());
  EXPECT_EQ(r.program().segments[1].ops[0].kind, OpKind::kLinearCrossEntropyGrad);
  EXPECT_EQ(r.program().segments[1].ops[0].outputs[0], r.program().roots[0]);
}

TEST(AutogradStructureTest, NothingFlowsToWhatDoesNotTrain) {
  Recording r;
  const Tensor x = r.recorder().Input("features", DType::kF64, {5, 3}, {});
  Finish(r, Linear(Gelu(x), r.P("w", {4, 3})));
  ASSERT_EQ(r.program().segments[1].ops.size(), 1);
  EXPECT_EQ(r.program().segments[1].ops[0].kind, OpKind::kLinearWeightGrad);
}

TEST(AutogradDeathTest, AParameterWithoutAGradientAbortsByName) {
  Recording r;
  r.P("forgotten", {3, 3});
  EXPECT_DEATH(Finish(r, Gelu(r.X({2, 3}))), "parameter forgotten gets no gradient");
}

TEST(AutogradDeathTest, AnOpWithoutAGradientCutsItsParametersOff) {
  Recording r;
  const Tensor y = Linear(r.X({5, 3}, kReplicated), r.P("w", {4, 3}, kReplicated));
  const Tensor picked = GatherRows(y, r.Integers("rows", DType::kI32, {1}));
  EXPECT_DEATH(Finish(r, picked), "parameter w gets no gradient");
}

TEST(AutogradDeathTest, ALossThatSomethingElseReadsAborts) {
  Recording r;
  const Tensor targets = r.Integers("targets", DType::kI32, {1, 2});
  const Tensor loss =
      LinearCrossEntropy(r.X({2, 3}, kReplicated), r.P("w", {16, 3}, kVocabulary), targets, 16);
  EXPECT_DEATH(Finish(r, loss), "nothing else may read the loss");
}

TEST(AutogradDeathTest, ANormThatTiesOneOfItsVectorsAborts) {
  Recording r;
  const Tensor h = LayerNorm(r.X({4, 5}), r.P("gain", {5}), r.P("first", {5}), 1e-5);
  const Tensor y = LayerNorm(h, r.P("gain", {5}), r.P("second", {5}), 1e-5);
  EXPECT_DEATH(Finish(r, y), "LayerNormGrad makes gradients of which one is tied and another is not");
}

TEST(AutogradDeathTest, ANormWithOneTrainedVectorOfItsOwnAborts) {
  Recording r;
  const Tensor gain = r.P("a", {5}) + r.P("b", {5});
  const Tensor y = LayerNorm(r.X({4, 5}), gain, r.P("bias", {5}), 1e-5);
  EXPECT_DEATH(Finish(r, y), "LayerNormGrad adds into a parameter's gradient, but also makes");
}

}  // namespace
}  // namespace trireme
