// Of two-block models, with the norms' pass: fuse_test.cc.
#include "runtime/passes/fuse_products.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/autograd.h"
#include "runtime/op_table.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/linear.h"
#include "runtime/passes/recompute.h"
#include "runtime/recorder.h"

namespace trireme {
namespace {

using testing::ElementsAre;

constexpr int64_t kTokens = 6, kWidth = 8, kWide = 24;

class FuseProductsTest : public testing::Test {
 protected:
  FuseProductsTest() : recorder_(&program_, {}, {.compute = DType::kF64}) {
    recorder_.BeginSegment("only", Region::kForward);
    x_ = recorder_.Received("x", DType::kF64, {kTokens, kWidth}, {}, true);
    program_.stage_input = x_.id();
  }

  Tensor P(const std::string& name, Shape shape) {
    return recorder_.Parameters({{.name = name, .global_shape = shape}});
  }
  Tensor Wide() { return Linear(x_, P("w", {kWide, kWidth}), P("b", {kWide})); }
  Tensor Narrow(Tensor wide, const std::string& name = "v") { return Linear(wide, P(name, {kWidth, kWide})); }
  void Finish(Tensor output, Recompute recompute = Recompute::kNone) {
    program_.stage_output = output.id();
    Differentiate(recorder_);
    RecomputePass(program_, recompute);
  }
  std::vector<std::string> Fused(int segment) {
    FuseProductsPass(program_);
    std::vector<std::string> kinds;
    for (const Op& op : program_.segments[segment].ops) kinds.emplace_back(Name(op.kind));
    return kinds;
  }
  const Op& op(int segment, int i) const { return program_.segments[segment].ops[i]; }

  Program program_;
  Recorder recorder_;
  Tensor x_;
};

TEST_F(FuseProductsTest, AProductThatNobodyElseReadsIsNotMade) {
  const Tensor wide = Wide(), y = Gelu(wide);
  program_.stage_output = Narrow(y).id();
  const Op before = op(0, 0);
  EXPECT_THAT(Fused(0), ElementsAre("LinearGelu", "Linear"));
  EXPECT_EQ(op(0, 0).inputs, before.inputs);
  EXPECT_THAT(op(0, 0).outputs, ElementsAre(y.id()));
  EXPECT_EQ(op(0, 0).flops, before.flops);
}

TEST_F(FuseProductsTest, WhatBackwardReadsIsMadeBesideItsGelu) {
  const Tensor wide = Wide(), y = Gelu(wide);
  Finish(Narrow(y));
  EXPECT_THAT(Fused(0), ElementsAre("LinearGelu", "Linear"));
  EXPECT_THAT(op(0, 0).outputs, ElementsAre(y.id(), wide.id()));
}

TEST_F(FuseProductsTest, AProductThatIsReadUnderAnotherNameIsMade) {
  const Tensor wide = Wide(), y = Gelu(wide);
  program_.stage_output = Gelu(recorder_.Alias(wide, "alias", wide.shape(), wide.layout())).id();
  EXPECT_THAT(Fused(0), ElementsAre("LinearGelu", "Gelu"));
  EXPECT_THAT(op(0, 0).outputs, ElementsAre(y.id(), wide.id()));
}

TEST_F(FuseProductsTest, AProductThatIsSentIsMade) {
  const Tensor wide = Wide(), y = Gelu(wide);
  program_.stage_output = wide.id();
  EXPECT_THAT(Fused(0), ElementsAre("LinearGelu"));
  EXPECT_THAT(op(0, 0).outputs, ElementsAre(y.id(), wide.id()));
}

TEST_F(FuseProductsTest, AGeluOfSomethingElseStays) {
  const Tensor wide = Wide();
  Gelu(x_);
  program_.stage_output = Gelu(wide).id();
  EXPECT_THAT(Fused(0), ElementsAre("Linear", "Gelu", "Gelu"));
}

TEST_F(FuseProductsTest, AGeluThatIsDoneAgainOfAKeptProductStays) {
  Finish(Narrow(Gelu(Wide())), Recompute::kSelective);
  EXPECT_THAT(Fused(1), ElementsAre("Gelu", "LinearWeightGrad", "LinearInputGeluGrad", "LinearInputGrad",
                                    "LinearWeightBiasGrad"));
}

TEST_F(FuseProductsTest, BothAreDoneAgainInOne) {
  const Tensor wide = Wide(), y = Gelu(wide);
  Finish(Narrow(y), Recompute::kFull);
  EXPECT_THAT(Fused(1), ElementsAre("LinearGelu", "LinearWeightGrad", "LinearInputGeluGrad",
                                    "LinearInputGrad", "LinearWeightBiasGrad"));
  EXPECT_TRUE(op(1, 0).recomputed);
  EXPECT_EQ(op(1, 0).outputs.size(), 2);
  EXPECT_THAT(op(0, 0).outputs, ElementsAre(y.id())) << "forward keeps nothing of it";
}

TEST_F(FuseProductsTest, AGeluGradientThatIsNoProductsAloneStays) {
  const Tensor y = Gelu(Wide());
  Finish(Narrow(y) + Narrow(y, "u"));
  EXPECT_THAT(Fused(1),
              ElementsAre("LinearInputGrad", "LinearWeightGrad", "LinearInputGrad", "Add", "LinearWeightGrad",
                          "GeluGrad", "LinearInputGrad", "LinearWeightBiasGrad"));
}

TEST_F(FuseProductsTest, TheGradientThatAStageSendsIsNotTakenAway) {
  Finish(Wide());
  const Tensor sent(&recorder_, program_.stage_input_gradient);
  recorder_.Record1(OpKind::kGeluGrad, {sent, x_}, {"d.gelu", DType::kF64, x_.shape(), {}});
  EXPECT_THAT(Fused(1), ElementsAre("LinearInputGrad", "LinearWeightBiasGrad", "GeluGrad"));
}

TEST_F(FuseProductsTest, ABiasThatIsNoParameterKeepsItsColumnSum) {
  Finish(Linear(x_, P("w", {kWide, kWidth}), P("a", {kWide}) + P("b", {kWide})));
  EXPECT_THAT(Fused(1), testing::IsSupersetOf({"LinearWeightGrad", "ColumnSum"}));
}

TEST_F(FuseProductsTest, AWeightThatIsUsedTwiceKeepsItsBiasApartWhereOnlyOneOfThemAdds) {
  const auto layer = [&](Tensor x, const char* bias) {
    return Linear(x, P("w", {kWidth, kWidth}), P(bias, {kWidth}));
  };
  Finish(layer(layer(x_, "first"), "second"));
  EXPECT_THAT(Fused(1), ElementsAre("LinearInputGrad", "LinearWeightBiasGrad", "LinearInputGrad",
                                    "LinearWeightGrad", "ColumnSum"));
}

}  // namespace
}  // namespace trireme
