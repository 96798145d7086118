#include "runtime/passes/grid_gradients.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "runtime/op_table.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/redistribute.h"
#include "runtime/passes/expand.h"
#include "runtime/passes/split_backward.h"
#include "runtime/program_test_util.h"

namespace trireme {
namespace {

constexpr int64_t kTokens = 12, kWidth = 8, kVocabulary = 16;
const Layout kStream = {Shard(0), kInvariant};

// An embedding that is the head too, and a block. The head is cut into chunks of 16 rows at least: one here.
class Model {
 public:
  Model(const GradientGrid* grid, bool splits) : recorder_(&program_, {}, {.compute = DType::kF64}) {
    recorder_.BeginSegment("embedding", Region::kForward);
    ids_ = recorder_.Input("ids", DType::kI32, {kTokens}, kStream);
    Tensor x = Redistribute(Embedding(ids_, Table()), Axis::kTp, kInvariant);
    recorder_.BeginSegment("block", Region::kForward);
    const Tensor norm = LayerNorm(x, Vector("gain"), Vector("bias"), 1e-5);
    x = Linear(norm, Weight("square")) + x;
    recorder_.BeginSegment("head", Region::kForward);
    targets_ = recorder_.Input("targets", DType::kI32, {kTokens}, kStream);
    recorder_.Root(
        LinearCrossEntropy(Redistribute(x, Axis::kTp, kReplicate), Table(), targets_, kVocabulary));
    Differentiate(recorder_);
    if (splits) SplitBackward(program_);
    ExpandCrossEntropy(recorder_);
    if (grid != nullptr) GridGradients(recorder_, *grid);
  }

  const Program& program() const { return program_; }

  // All gradients, as numbers.
  std::vector<std::vector<double>> Gradients(double unit) const {
    ProgramRun run(program_, {.num_micro_batches = 3});
    std::vector<double> ids, targets;
    for (int64_t t = 0; t < kTokens; ++t) {
      ids.push_back(static_cast<double>(t * 3 % kVocabulary));
      targets.push_back(static_cast<double>(t * 5 % kVocabulary));
    }
    run.Set(ids_.id(), ids);
    run.Set(targets_.id(), targets);
    if (program_.grid_overflow != kNoValue) run.Set(program_.grid_overflow, {0});
    run.Run();
    std::vector<std::vector<double>> gradients;
    for (const ParameterGroup& group : program_.parameters) {
      gradients.push_back(run.Get(group.gradient));
      for (double& v : gradients.back()) v *= unit;
    }
    return gradients;
  }

 private:
  Tensor Table() {
    return recorder_.Parameters(
        {{.name = "table", .global_shape = {kVocabulary, kWidth}, .layout = {kReplicate, Shard(0)}}});
  }
  Tensor Vector(const std::string& name) {
    return recorder_.Parameters(
        {{.name = name, .global_shape = {kWidth}, .layout = {kReplicate, kInvariant}}});
  }
  Tensor Weight(const std::string& name) {
    return recorder_.Parameters(
        {{.name = name, .global_shape = {kWidth, kWidth}, .layout = {kReplicate, kInvariant}}});
  }

  Program program_;
  Recorder recorder_;
  Tensor ids_, targets_;
};

const GradientGrid kGrid = {.exponent = -50, .limit = int64_t{1} << 60};

TEST(GridGradientsTest, GradientsAreThoseWithoutAGridRounded) {
  for (const bool splits : {false, true}) {
    const auto expected = Model(nullptr, splits).Gradients(1);
    const auto found = Model(&kGrid, splits).Gradients(std::ldexp(1, -50));
    ASSERT_EQ(found.size(), expected.size());
    for (size_t g = 0; g < found.size(); ++g) {
      // Six roundings of half a quantum, of a tied parameter in three micro-batches, and those in double.
      for (size_t i = 0; i < found[g].size(); ++i) {
        EXPECT_NEAR(found[g][i], expected[g][i], 6 * std::ldexp(0.5, -50) + 1e-14);
      }
    }
  }
}

TEST(GridGradientsTest, OnlyTheGridWritesGradientsAndSegmentsAddOnIt) {
  for (const bool splits : {false, true}) {
    const Model model(&kGrid, splits);
    const Program& program = model.program();
    ASSERT_NE(program.grid_overflow, kNoValue);
    std::map<std::string, std::vector<bool>> adds;
    for (const Segment& segment : program.segments) {
      for (const Op& op : segment.ops) {
        for (ValueId output : op.outputs) {
          const Value& value = program.value(output);
          if (value.kind != ValueKind::kParameterGradient) continue;
          EXPECT_EQ(op.kind, OpKind::kAddToGrid) << Name(op.kind);
          EXPECT_EQ(value.dtype, DType::kI64);
          adds[value.name].push_back(op.always_accumulates);
        }
      }
    }
    const std::map<std::string, std::vector<bool>> expected = {
        {"d.table", {false, true}}, {"d.gain", {false}}, {"d.bias", {false}}, {"d.square", {false}}};
    EXPECT_EQ(adds, expected);
  }
}

TEST(GridGradientsTest, NothingThatLivesIsWrittenOver) {
  const Model model(&kGrid, false);
  const CpuDevice device(1, KernelChoice::kPlain);
  EXPECT_THAT(MemoryViolations(model.program(), PlanMemory(model.program(), device), device),
              testing::IsEmpty());
}

}  // namespace
}  // namespace trireme
