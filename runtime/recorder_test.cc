#include "runtime/recorder.h"

#include <gtest/gtest.h>

#include "runtime/ops/elementwise.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/redistribute.h"

namespace trireme {
namespace {

AxisSizes Tp(int size) {
  AxisSizes mesh;
  mesh[Axis::kTp] = size;
  return mesh;
}

class RecorderTest : public testing::Test {
 protected:
  explicit RecorderTest(int tp = 1, DType compute = DType::kF32)
      : recorder_(&program_, Tp(tp), {.compute = compute}) {
    recorder_.BeginSegment("test", Region::kForward);
  }
  Tensor Input(const char* name, Shape shape, Layout layout = {}) {
    return recorder_.Input(name, DType::kF32, shape, layout);
  }

  Program program_;
  Recorder recorder_;
};
using RecorderDeathTest = RecorderTest;

class Bf16RecorderTest : public RecorderTest {
 protected:
  Bf16RecorderTest() : RecorderTest(1, DType::kBF16) {}
};

class TensorParallelRecorderTest : public RecorderTest {
 protected:
  TensorParallelRecorderTest() : RecorderTest(4) {}
};
using TensorParallelRecorderDeathTest = TensorParallelRecorderTest;

Parameter Weight(const char* name, int64_t rows, int64_t cols, Layout layout = {}) {
  return {.name = name, .global_shape = {rows, cols}, .layout = layout};
}

TEST_F(RecorderTest, ParametersOfAGroupStackAlongTheirRows) {
  const Tensor w = recorder_.Parameters({Weight("q", 8, 3), Weight("k", 4, 3), Weight("v", 4, 3)});
  EXPECT_EQ(w.shape(), Shape({16, 3}));
  EXPECT_TRUE(w.value().requires_gradient);
  ASSERT_EQ(program_.parameters.size(), 1);
  EXPECT_EQ(program_.parameters[0].parts[2].name, "v");
  EXPECT_EQ(program_.parameters[0].segment, 0);
}

TEST_F(TensorParallelRecorderTest, EachRankHoldsItsPartOfEveryParameterOfAGroup) {
  const Layout by_rows = {kReplicate, Shard(0)}, by_cols = {kReplicate, Shard(1)};
  EXPECT_EQ(recorder_.Parameters({Weight("q", 8, 3, by_rows), Weight("k", 4, 3, by_rows)}).shape(),
            Shape({3, 3}));
  EXPECT_EQ(recorder_.Parameters({Weight("o", 3, 8, by_cols)}).shape(), Shape({3, 2}));
}

TEST_F(TensorParallelRecorderTest, PaddingIsShardedToo) {
  Parameter vocabulary = Weight("wte", 257, 3, {kReplicate, Shard(0)});
  vocabulary.padded_shape = {320, 3};
  EXPECT_EQ(recorder_.Parameters({vocabulary}).shape(), Shape({80, 3}));
  EXPECT_EQ(program_.parameters[0].parts[0].global_shape, Shape({257, 3}));
}

TEST_F(Bf16RecorderTest, MatricesHaveTheComputeDTypeAndVectorsStayWide) {
  const Tensor matrix = recorder_.Parameters({Weight("w", 2, 3)});
  const Tensor vector = recorder_.Parameters({{.name = "gain", .global_shape = {3}}});
  EXPECT_EQ(matrix.dtype(), DType::kBF16);
  EXPECT_EQ(vector.dtype(), DType::kF32);
  EXPECT_TRUE(program_.parameters[0].parts[0].decay);
  EXPECT_FALSE(program_.parameters[1].parts[0].decay);
}

TEST_F(RecorderTest, AskingAgainForAParameterTiesIt) {
  const Tensor first = recorder_.Parameters({Weight("wte", 8, 3)});
  recorder_.BeginSegment("head", Region::kForward);
  const Tensor second = recorder_.Parameters({Weight("wte", 8, 3)});
  EXPECT_EQ(first.id(), second.id());
  EXPECT_EQ(program_.parameters.size(), 1);
  EXPECT_EQ(program_.parameters[0].segment, 0);
}

TEST_F(RecorderDeathTest, AParameterInTwoGroupsAborts) {
  recorder_.Parameters({Weight("q", 8, 3), Weight("k", 4, 3)});
  EXPECT_DEATH(recorder_.Parameters({Weight("q", 8, 3)}), "parameter q is used in two groups");
  EXPECT_DEATH(recorder_.Parameters({Weight("k", 4, 3)}), "parameter k is used in two groups");
  EXPECT_DEATH(recorder_.Parameters({Weight("q", 8, 3), Weight("v", 4, 3)}),
               "parameter q is used in two groups");
}

TEST_F(RecorderDeathTest, ATiedParameterOfAnotherLayoutOrShapeAborts) {
  recorder_.Parameters({Weight("wte", 8, 3)});
  EXPECT_DEATH(recorder_.Parameters({Weight("wte", 8, 3, {kReplicate, Shard(0)})}),
               "parameter wte has two layouts: I.I.I and R.R.S0");
  EXPECT_DEATH(recorder_.Parameters({Weight("wte", 8, 4)}),
               "parameter wte has two shapes: .8, 3. and .8, 4.");
}

TEST_F(RecorderDeathTest, PartsThatDoNotStackAbort) {
  EXPECT_DEATH(recorder_.Parameters({Weight("q", 8, 3), Weight("k", 4, 2)}), "k");
  EXPECT_DEATH(recorder_.Parameters({Weight("q", 8, 3), Weight("k", 4, 3, {kReplicate, kInvariant})}), "k");
}

TEST_F(TensorParallelRecorderDeathTest, ADimThatTheMeshDoesNotDivideAborts) {
  EXPECT_DEATH(recorder_.Parameters({Weight("w", 6, 3, {kReplicate, Shard(0)})}),
               "a dim of size 6 sharded over tp of size 4");
}

TEST_F(RecorderTest, RowsAreAWindow) {
  const Tensor x = Input("x", {5, 4});
  const Tensor rows = recorder_.Rows(x, 2, 3);
  EXPECT_EQ(rows.shape(), Shape({3, 4}));
  EXPECT_EQ(rows.value().base, x.id());
  EXPECT_EQ(rows.value().offset, 8);
  const Tensor inner = recorder_.Rows(rows, 1, 1);
  EXPECT_EQ(program_.StorageOf(inner.id()), x.id());
  EXPECT_EQ(program_.OffsetInStorage(inner.id()), 12);
}

TEST_F(RecorderTest, AnAliasHasTheSameElementsInAnotherShape) {
  const Tensor x = Input("x", {6, 4});
  const Tensor y = recorder_.Alias(recorder_.Rows(x, 2, 4), "y", {2, 8}, {kReplicate, kReplicate});
  EXPECT_EQ(y.layout().ToString(), "R.R.R");
  EXPECT_EQ(program_.StorageOf(y.id()), x.id());
  EXPECT_EQ(program_.OffsetInStorage(y.id()), 8);
}

TEST_F(RecorderDeathTest, WindowsBeyondTheirStorageAbort) {
  const Tensor x = Input("x", {5, 4});
  EXPECT_DEATH(recorder_.Rows(x, 3, 3), "rows .3, 6. of .5, 4.");
  EXPECT_DEATH(recorder_.Rows(x, -1, 2), "rows .-1, 1. of .5, 4.");
  EXPECT_DEATH(recorder_.Alias(x, "y", {19}, {}), "y");
}

TEST_F(RecorderDeathTest, AProductOfMismatchingShapesAbortsWithTheNames) {
  const Tensor x = Input("hidden", {5, 4}), w = recorder_.Parameters({Weight("proj.weight", 2, 3)});
  EXPECT_DEATH(Linear(x, w), "hidden.5, 4. with proj.weight.2, 3.");
}

TEST_F(RecorderDeathTest, AProductOfMismatchingDTypesAborts) {
  const Tensor x = recorder_.Input("hidden", DType::kBF16, {5, 3}, {});
  EXPECT_DEATH(Linear(x, recorder_.Parameters({Weight("w", 2, 3)})), "bf16 with f32");
}

TEST_F(RecorderDeathTest, AProductOfMismatchingLayoutsAbortsWithTheNames) {
  const Tensor x = Input("hidden", {5, 3}, {Shard(0), kInvariant});
  const Tensor w = recorder_.Parameters({Weight("w", 2, 3)});
  EXPECT_DEATH(Linear(x, w), "axis dp for tk,nk->tn.*found S0.S0.I I.I.I, operands hidden.5, 3. w.2, 3.");
}

TEST_F(RecorderDeathTest, ABiasMustLieAsTheProductDoes) {
  const Tensor x = Input("x", {5, 3}, {kReplicate, Shard(1)});
  const Tensor w = recorder_.Parameters({Weight("w", 2, 3, {kReplicate, Shard(1)})});
  const Tensor bias =
      recorder_.Parameters({{.name = "b", .global_shape = {2}, .layout = {kReplicate, kReplicate}}});
  EXPECT_DEATH(Linear(x, w, bias), "bias R.R.R beside a product R.R.P");
}

TEST_F(RecorderDeathTest, ASumOfDifferentShapesAborts) {
  EXPECT_DEATH(Input("a", {5, 3}) + Input("b", {5, 4}), "Add: a.5, 3. and b.5, 4.");
}

TEST_F(RecorderDeathTest, AReplicateLossAborts) {
  EXPECT_DEATH(recorder_.Root(Input("loss", {5}, {Shard(0), kReplicate})), "Replicate on tp");
}

TEST_F(RecorderDeathTest, AMoveThatDoesNotExistAborts) {
  EXPECT_DEATH(Redistribute(Input("x", {4, 4}, {kInvariant, kReplicate}), Axis::kTp, kInvariant),
               "there is no move from R to I");
  EXPECT_DEATH(Redistribute(Input("x", {4, 4}, {kInvariant, Shard(1)}), Axis::kTp, kReplicate),
               "there is no move from S1 to R");
}

TEST_F(RecorderTest, OnAnAxisOfSizeOneEveryMoveIsALabel) {
  const Tensor x = Input("x", {4, 4}, {kInvariant, kPartial});
  const Tensor y = Redistribute(x, Axis::kTp, kInvariant);
  EXPECT_EQ(y.value().base, x.id());
  EXPECT_EQ(program_.segments[0].ops[0].kind, OpKind::kRelabel);
}

TEST_F(TensorParallelRecorderTest, AMoveCommunicatesAndResizes) {
  const Tensor gathered = Redistribute(Input("x", {4, 4}, {kInvariant, Shard(0)}), Axis::kTp, kReplicate);
  EXPECT_EQ(gathered.shape(), Shape({16, 4}));
  const Tensor scattered = Redistribute(Input("y", {8, 4}, {kInvariant, kPartial}), Axis::kTp, Shard(0));
  EXPECT_EQ(scattered.shape(), Shape({2, 4}));
  EXPECT_EQ(program_.segments[0].ops[0].kind, OpKind::kAllGather);
  EXPECT_EQ(program_.segments[0].ops[1].kind, OpKind::kReduceScatter);
}

TEST_F(TensorParallelRecorderDeathTest, ScatteringRowsThatDoNotDivideAborts) {
  EXPECT_DEATH(Redistribute(Input("y", {6, 4}, {kInvariant, kPartial}), Axis::kTp, Shard(0)),
               "ReduceScatter of .6, 4. over tp");
}

TEST_F(RecorderTest, OnlyWhatDependsOnATrainedValueNeedsAGradient) {
  const Tensor x = Input("x", {5, 3}), w = recorder_.Parameters({Weight("w", 3, 3)});
  EXPECT_FALSE((x + x).value().requires_gradient);
  EXPECT_TRUE(Linear(x, w).value().requires_gradient);
}

}  // namespace
}  // namespace trireme
