#include "runtime/passes/recompute.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "runtime/autograd.h"
#include "runtime/op_table.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/dropout.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/redistribute.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/passes/expand.h"
#include "runtime/program_test_util.h"

namespace trireme {
namespace {

constexpr int64_t kTokens = 18, kWidth = 8, kWide = 24;
constexpr int64_t kVocabulary = 11;

// Two blocks and a head, with the ops that transformers have: norms, products, activations, dropout, residual
// sums.
class Model {
 public:
  explicit Model(Recompute recompute) : recorder_(&program_, {}, {.compute = DType::kF64}) {
    recorder_.BeginSegment("input", Region::kForward);
    index_ = recorder_.Input("token_index", DType::kI64, {kTokens}, {});
    Tensor x = recorder_.Received("x", DType::kF64, {kTokens, kWidth}, {}, true);
    program_.stage_input = x.id();
    x = Block("a.", x);
    x = Block("b.", x);
    recorder_.BeginSegment("head", Region::kForward);
    targets_ = recorder_.Input("targets", DType::kI32, {kTokens}, {});
    const Tensor last = RmsNorm(x, Vector("last", kWidth), 1e-5);
    recorder_.Root(LinearCrossEntropy(Redistribute(last, Axis::kTp, kReplicate),
                                      Weight("head", 16, kWidth, {kInvariant, Shard(0)}), targets_,
                                      kVocabulary));
    Differentiate(recorder_);
    RecomputePass(program_, recompute);
    ExpandCrossEntropy(recorder_, 1);
  }

  const Program& program() const { return program_; }

  // All gradients of two micro-batches, and the losses.
  std::vector<std::vector<double>> Results() const {
    ProgramRun run(program_, {.num_micro_batches = 2});
    std::vector<double> index, targets;
    for (int64_t t = 0; t < kTokens; ++t) {
      index.push_back(static_cast<double>(100 + t));
      targets.push_back(static_cast<double>(t * 5 % kVocabulary));
    }
    run.Set(index_.id(), index);
    run.Set(targets_.id(), targets);
    run.Run();
    std::vector<std::vector<double>> results = {{run.loss(0), run.loss(1)}};
    for (const ParameterGroup& group : program_.parameters) results.push_back(run.Get(group.gradient));
    for (int m : {0, 1}) results.push_back(run.Get(program_.stage_input_gradient, m));
    EXPECT_THAT(MemoryViolations(program_, run.memory(), CpuDevice(1, KernelChoice::kPlain)),
                testing::IsEmpty());
    return results;
  }

  int64_t saved_bytes() const { return ProgramRun(program_).memory().slot_bytes; }

  std::multiset<std::string> Recomputed() const {
    std::multiset<std::string> kinds;
    for (const Segment& segment : program_.segments) {
      for (const Op& op : segment.ops) {
        if (op.recomputed) kinds.insert(Name(op.kind));
      }
    }
    return kinds;
  }

 private:
  Tensor Vector(const std::string& name, int64_t size) {
    return recorder_.Parameters({{.name = name, .global_shape = {size}}});
  }
  Tensor Weight(const std::string& name, int64_t rows, int64_t cols, Layout layout = {}) {
    return recorder_.Parameters({{.name = name, .global_shape = {rows, cols}, .layout = layout}});
  }
  Tensor Block(const std::string& name, Tensor x) {
    recorder_.BeginSegment(name, Region::kForward);
    const Tensor norm = LayerNorm(x, Vector(name + "gain", kWidth), Vector(name + "bias", kWidth), 1e-5);
    const Tensor wide = Gelu(Linear(norm, Weight(name + "in", kWide, kWidth)));
    const Tensor back = Linear(wide, Weight(name + "out", kWidth, kWide));
    return x + Dropout(back, index_, 0.3, 5, name);
  }

  Program program_;
  Recorder recorder_;
  Tensor index_, targets_;
};

TEST(RecomputeTest, GradientsHaveTheSameBitsWhateverIsRecomputed) {
  const auto expected = Model(Recompute::kNone).Results();
  EXPECT_EQ(Model(Recompute::kSelective).Results(), expected);
  EXPECT_EQ(Model(Recompute::kFull).Results(), expected);
}

TEST(RecomputeTest, EachModeSavesLess) {
  const int64_t none = Model(Recompute::kNone).saved_bytes();
  const int64_t selective = Model(Recompute::kSelective).saved_bytes();
  const int64_t full = Model(Recompute::kFull).saved_bytes();
  const int64_t wide_bytes = kTokens * kWide * 8, bytes = kTokens * kWidth * 8;
  // Selective: no norm and no activation is kept; of a block, its input and the activation's argument are.
  EXPECT_LE(selective, none - 2 * (wide_bytes + bytes));
  // Full: of a block, its input alone.
  EXPECT_LE(full, selective - 2 * wide_bytes);
}

TEST(RecomputeTest, NothingIsRecomputedWhereNothingWasGathered) {
  EXPECT_THAT(Model(Recompute::kNone).Recomputed(), testing::IsEmpty());
}

TEST(RecomputeTest, SelectiveRecomputesCheapOpsOnce) {
  EXPECT_THAT(Model(Recompute::kSelective).Recomputed(),
              testing::UnorderedElementsAre("Gelu", "Gelu", "LayerNorm", "LayerNorm", "RmsNorm", "Relabel"));
}

// The last sum of a block crosses the border; dropout's and the second product's results nobody reads again.
TEST(RecomputeTest, FullRecomputesWhatBackwardReads) {
  EXPECT_THAT(Model(Recompute::kFull).Recomputed(),
              testing::UnorderedElementsAre("LayerNorm", "Linear", "Gelu", "LayerNorm", "Linear", "Gelu",
                                            "RmsNorm", "Relabel"));
}

TEST(RecomputeTest, RecomputedProductsAreNotTheMathematics) {
  EXPECT_EQ(Model(Recompute::kFull).program().MathematicalFlops(),
            Model(Recompute::kNone).program().MathematicalFlops());
}

TEST(RecomputeTest, WhatWasGatheredIsGatheredAgainInEveryMode) {
  for (Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
    Program program;
    AxisSizes mesh;
    mesh[Axis::kTp] = 2;
    Recorder recorder(&program, mesh, {.compute = DType::kF64});
    recorder.BeginSegment("block", Region::kForward);
    const Tensor x = recorder.Received("x", DType::kF64, {3, 4}, {kInvariant, Shard(0)}, true);
    const Tensor all = Redistribute(x, Axis::kTp, kReplicate);
    const Tensor w =
        recorder.Parameters({{.name = "w", .global_shape = {8, 4}, .layout = {kInvariant, Shard(0)}}});
    program.stage_input = x.id();
    program.stage_output = Linear(all, w).id();
    Differentiate(recorder);
    RecomputePass(program, recompute);

    const std::vector<Op>& backward = program.segments[1].ops;
    const auto gather = std::find_if(backward.begin(), backward.end(),
                                     [](const Op& op) { return op.kind == OpKind::kAllGather; });
    ASSERT_NE(gather, backward.end());
    EXPECT_TRUE(gather->recomputed);
    for (const Op& op : backward) {
      for (ValueId input : op.inputs) EXPECT_NE(input, all.id()) << Name(op.kind) << " reads the first copy";
    }
    const CpuDevice device(1);
    EXPECT_EQ(PlanMemory(program, device).places[all.id()].kind, MemoryKind::kTransient);
  }
}

// As a head's input is with sequence parallelism: backward yields the loss, so that forward has no head.
TEST(RecomputeTest, WhatBackwardAloneReadsIsGatheredThereAlone) {
  Program program;
  AxisSizes mesh;
  mesh[Axis::kTp] = 2;
  Recorder recorder(&program, mesh, {.compute = DType::kF64});
  recorder.BeginSegment("head", Region::kForward);
  const Layout stream = {kInvariant, Shard(0)};
  const Tensor x = recorder.Received("x", DType::kF64, {3, kWidth}, stream, true);
  const Tensor targets = recorder.Input("targets", DType::kI32, {6}, {});
  const Tensor w =
      recorder.Parameters({{.name = "w", .global_shape = {32, kWidth}, .layout = {kInvariant, Shard(0)}}});
  program.stage_input = x.id();
  recorder.Root(LinearCrossEntropy(Redistribute(x, Axis::kTp, kReplicate), w, targets, kVocabulary));
  Differentiate(recorder);
  RecomputePass(program, Recompute::kNone);
  const auto gathers = [&](int segment) {
    const std::vector<Op>& ops = program.segments[segment].ops;
    return std::count_if(ops.begin(), ops.end(), [](const Op& op) { return op.kind == OpKind::kAllGather; });
  };
  EXPECT_EQ(gathers(0), 0);
  EXPECT_EQ(gathers(1), 1);
}

}  // namespace
}  // namespace trireme
