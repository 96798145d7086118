#include "runtime/passes/split_backward.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "runtime/autograd.h"
#include "runtime/op_table.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/redistribute.h"
#include "runtime/passes/expand.h"
#include "runtime/passes/recompute.h"
#include "runtime/program_test_util.h"

namespace trireme {
namespace {

constexpr int64_t kTokens = 12, kWidth = 8, kWide = 16, kVocabulary = 11;

// A block and a head; behind another stage or the first.
class Model {
 public:
  Model(bool has_input, bool splits, Recompute recompute = Recompute::kNone)
      : recorder_(&program_, {}, {.compute = DType::kF64}) {
    recorder_.BeginSegment("block", Region::kForward);
    const Tensor x = recorder_.Received("x", DType::kF64, {kTokens, kWidth}, {}, has_input);
    if (has_input) program_.stage_input = x.id();
    const Tensor norm = LayerNorm(x, Vector("gain"), Vector("bias"), 1e-5);
    const Tensor wide = Gelu(Linear(norm, Weight("in", kWide, kWidth)));
    const Tensor y = Linear(wide, Weight("out", kWidth, kWide)) + norm;
    recorder_.BeginSegment("head", Region::kForward);
    targets_ = recorder_.Input("targets", DType::kI32, {kTokens}, {});
    recorder_.Root(LinearCrossEntropy(
        Redistribute(y, Axis::kTp, kReplicate),
        recorder_.Parameters(
            {{.name = "head", .global_shape = {16, kWidth}, .layout = {kInvariant, Shard(0)}}}),
        targets_, kVocabulary));
    Differentiate(recorder_);
    RecomputePass(program_, recompute);
    if (splits) SplitBackward(program_);
    ExpandCrossEntropy(recorder_, 1);
  }

  const Program& program() const { return program_; }

  // The losses, all gradients of two micro-batches, and those of the input.
  std::vector<std::vector<double>> Results() const {
    ProgramRun run(program_, {.num_micro_batches = 2});
    std::vector<double> targets;
    for (int64_t t = 0; t < kTokens; ++t) targets.push_back(static_cast<double>(t * 5 % kVocabulary));
    for (int m : {0, 1}) run.Set(targets_.id(), targets, m);
    run.Run();
    std::vector<std::vector<double>> results = {{run.loss(0), run.loss(1)}};
    for (const ParameterGroup& group : program_.parameters) results.push_back(run.Get(group.gradient));
    if (program_.stage_input_gradient != kNoValue) {
      for (int m : {0, 1}) results.push_back(run.Get(program_.stage_input_gradient, m));
    }
    return results;
  }

  std::multiset<std::string> KindsIn(Region region) const {
    std::multiset<std::string> kinds;
    for (const Segment& segment : program_.segments) {
      for (const Op& op : segment.ops) {
        if (segment.region == region) kinds.insert(segment.name + " " + Name(op.kind));
      }
    }
    return kinds;
  }

 private:
  Tensor Vector(const std::string& name) {
    return recorder_.Parameters({{.name = name, .global_shape = {kWidth}}});
  }
  Tensor Weight(const std::string& name, int64_t rows, int64_t cols) {
    return recorder_.Parameters({{.name = name, .global_shape = {rows, cols}}});
  }

  Program program_;
  Recorder recorder_;
  Tensor targets_;
};

TEST(SplitBackwardTest, AllResultsKeepTheirBits) {
  for (bool has_input : {false, true}) {
    for (Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
      EXPECT_EQ(Model(has_input, true, recompute).Results(), Model(has_input, false, recompute).Results());
    }
  }
}

TEST(SplitBackwardTest, WeightGradientsOfProductsGoAndWhatFeedsTheStageInFrontStays) {
  const Model model(true, true);
  EXPECT_THAT(model.KindsIn(Region::kBackwardWeight),
              testing::UnorderedElementsAre("block LinearWeightGrad", "block LinearWeightGrad"));
  const auto stays = model.KindsIn(Region::kBackward);
  for (const char* kind : {"block LinearInputGrad", "block GeluGrad", "block LayerNormGrad"}) {
    EXPECT_TRUE(stays.count(kind) > 0) << kind << " of " << testing::PrintToString(stays);
  }
}

TEST(SplitBackwardTest, TheHeadStaysWholeSoThatItsLogitsNeedNotBeKept) {
  const Model model(true, true);
  EXPECT_GT(model.KindsIn(Region::kBackward).count("head LinearWeightGrad"), 0);
}

TEST(SplitBackwardTest, OnTheFirstStageNobodyWaitsForABlock) {
  const Model model(false, true);
  for (const std::string& kind : model.KindsIn(Region::kBackward)) {
    EXPECT_THAT(kind, testing::StartsWith("head "));
  }
  for (const Segment& segment : model.program().segments) EXPECT_FALSE(segment.ops.empty());
}

TEST(SplitBackwardTest, MemoryIsSound) {
  for (bool has_input : {false, true}) {
    const Model model(has_input, true, Recompute::kFull);
    const CpuDevice device(1);
    EXPECT_THAT(MemoryViolations(model.program(), PlanMemory(model.program(), device), device),
                testing::IsEmpty());
  }
}

}  // namespace
}  // namespace trireme
