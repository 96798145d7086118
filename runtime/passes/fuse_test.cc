#include "runtime/passes/fuse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/autograd.h"
#include "runtime/op_table.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/passes/fuse_products.h"
#include "runtime/passes/recompute.h"
#include "runtime/passes/split_backward.h"
#include "runtime/program_test_util.h"

namespace trireme {
namespace {

constexpr int64_t kTokens = 18, kWidth = 8, kWide = 24;

// Kinds of the ops of a segment, in order.
std::vector<std::string> KindsOf(const Segment& segment) {
  std::vector<std::string> kinds;
  for (const Op& op : segment.ops) kinds.emplace_back(Name(op.kind));
  return kinds;
}

class FuseTest : public testing::Test {
 protected:
  FuseTest() : recorder_(&program_, {}, {.compute = DType::kF64}) {
    recorder_.BeginSegment("first", Region::kForward);
    x_ = recorder_.Received("x", DType::kF64, {kTokens, kWidth}, {}, true);
    program_.stage_input = x_.id();
  }

  Tensor Vector(const std::string& name) {
    return recorder_.Parameters({{.name = name, .global_shape = {kWidth}}});
  }
  Tensor Norm(Tensor x, const std::string& name) { return RmsNorm(x, Vector(name), 1e-5); }
  std::vector<std::string> Fused(int segment) {
    FusePass(program_);
    return KindsOf(program_.segments[segment]);
  }

  Program program_;
  Recorder recorder_;
  Tensor x_;
};

using testing::ElementsAre;

TEST_F(FuseTest, AnAdditionJoinsTheNormOfItsSum) {
  const Tensor branch = Gelu(x_);
  const Tensor sum = x_ + branch;
  const Tensor norm = LayerNorm(sum, Vector("gain"), Vector("bias"), 1e-5);
  const Op before = program_.segments[0].ops[2];
  EXPECT_THAT(Fused(0), ElementsAre("Gelu", "AddLayerNorm"));
  const Op& fused = program_.segments[0].ops[1];
  EXPECT_THAT(fused.inputs, ElementsAre(x_.id(), branch.id(), before.inputs[1], before.inputs[2]));
  EXPECT_THAT(fused.outputs, ElementsAre(sum.id(), norm.id(), before.outputs[1]));
  EXPECT_EQ(fused.attributes.Float("eps"), 1e-5);
}

TEST_F(FuseTest, AnAdditionMovesToTheNextSegmentsNorm) {
  const Tensor sum = x_ + Gelu(x_);
  recorder_.BeginSegment("second", Region::kForward);
  Norm(sum, "gain");
  EXPECT_THAT(Fused(1), ElementsAre("AddRmsNorm"));
  EXPECT_THAT(KindsOf(program_.segments[0]), ElementsAre("Gelu"));
}

TEST_F(FuseTest, ASumThatIsReadBeforeTheNormStaysWhereItIs) {
  const Tensor sum = x_ + Gelu(x_);
  const Tensor other = Gelu(sum);
  Norm(sum, "gain");
  Gelu(other);
  EXPECT_THAT(Fused(0), ElementsAre("Gelu", "Add", "Gelu", "RmsNorm", "Gelu"));
}

TEST_F(FuseTest, ASumThatIsReadUnderAnotherNameStaysWhereItIs) {
  const Tensor sum = x_ + Gelu(x_);
  Gelu(recorder_.Alias(sum, "alias", sum.shape(), sum.layout()));
  Norm(sum, "gain");
  EXPECT_THAT(Fused(0), ElementsAre("Gelu", "Add", "Gelu", "RmsNorm"));
}

TEST_F(FuseTest, OnlyTheFirstOfTwoNormsTakesTheAddition) {
  const Tensor sum = x_ + Gelu(x_);
  Norm(sum, "gain");
  Norm(sum, "other");
  EXPECT_THAT(Fused(0), ElementsAre("Gelu", "AddRmsNorm", "RmsNorm"));
}

TEST_F(FuseTest, ANormsGradientJoinsItsAdditionToTheStreams) {
  program_.stage_output = (x_ + Gelu(Norm(x_, "gain"))).id();
  Differentiate(recorder_);
  EXPECT_THAT(Fused(1), ElementsAre("GeluGrad", "AddRmsNormGrad"));
  const Op& fused = program_.segments[1].ops[1];
  EXPECT_EQ(fused.inputs[4], program_.stage_output_gradient);
  EXPECT_THAT(fused.outputs, ElementsAre(program_.stage_input_gradient, program_.parameters[0].gradient));
}

// Differentiation adds what comes later to what is there: here the norm's own is there first.
TEST_F(FuseTest, AGradientThatComesAfterTheNormsIsAddedByItself) {
  const Tensor other = Gelu(x_);
  program_.stage_output =
      Linear(Norm(x_, "gain"), recorder_.Parameters({{.name = "w", .global_shape = {kWidth, kWidth}}})).id();
  program_.stage_output = (Tensor(&recorder_, program_.stage_output) + other).id();
  Differentiate(recorder_);
  EXPECT_THAT(Fused(1), ElementsAre("LinearInputGrad", "LinearWeightGrad", "RmsNormGrad", "GeluGrad", "Add"));
}

TEST_F(FuseTest, ANormsGradientThatOthersReadIsNotFused) {
  recorder_.BeginSegment("backward", Region::kBackward, 0);
  const Tensor gain = Vector("gain"), r = recorder_.Input("r", DType::kF64, {kTokens}, {});
  const Tensor own =
      recorder_.Record(OpKind::kRmsNormGrad, {x_, x_, gain, r},
                       {{"d.norm", DType::kF64, x_.shape(), {}}, {"d.gain", DType::kF64, gain.shape(), {}}},
                       {{"eps", 1e-5}})[0];
  Gelu(x_ + own);
  Gelu(own);
  EXPECT_THAT(Fused(1), ElementsAre("RmsNormGrad", "Add", "Gelu", "Gelu"));
}

// Two blocks of two branches each, as transformers have them, and a head.
class Transformer {
 public:
  Transformer(Recompute recompute, bool layer_norm, bool fuses, bool splits, bool trains = true)
      : recorder_(&program_, {}, {.compute = DType::kF64}), layer_norm_(layer_norm) {
    recorder_.BeginSegment("input", Region::kForward);
    Tensor x = recorder_.Received("x", DType::kF64, {kTokens, kWidth}, {}, true);
    program_.stage_input = x.id();
    x = Gelu(x);
    x = x + Gelu(x);
    for (const char* block : {"a.", "b."}) {
      recorder_.BeginSegment(block, Region::kForward);
      for (const char* branch : {"attention.", "feed."}) x = x + Branch(std::string(block) + branch, x);
    }
    recorder_.BeginSegment("head", Region::kForward);
    program_.stage_output = Gelu(Norm("last.", x)).id();
    if (trains) {
      Differentiate(recorder_);
      RecomputePass(program_, recompute);
    }
    if (fuses) {
      FusePass(program_);
      FuseProductsPass(program_);
    }
    if (splits) SplitBackward(program_);
  }

  const Program& program() const { return program_; }
  MemoryPlan memory() const { return PlanMemory(program_, CpuDevice(1, KernelChoice::kFast)); }

  // All gradients of two micro-batches.
  std::vector<std::vector<double>> Results() const {
    ProgramRun run(program_, {.num_micro_batches = 2});
    run.Run();
    std::vector<std::vector<double>> results;
    for (const ParameterGroup& group : program_.parameters) results.push_back(run.Get(group.gradient));
    for (int m : {0, 1}) results.push_back(run.Get(program_.stage_input_gradient, m));
    EXPECT_THAT(MemoryViolations(program_, run.memory(), CpuDevice(1, KernelChoice::kPlain)),
                testing::IsEmpty());
    return results;
  }

  int Count(OpKind kind) const {
    int count = 0;
    for (const Segment& segment : program_.segments) {
      for (const Op& op : segment.ops) count += op.kind == kind ? 1 : 0;
    }
    return count;
  }

 private:
  Tensor Parameter(const std::string& name, Shape shape) {
    return recorder_.Parameters({{.name = name, .global_shape = shape}});
  }
  Tensor Norm(const std::string& name, Tensor x) {
    const Tensor gain = Parameter(name + "gain", {kWidth});
    return layer_norm_ ? LayerNorm(x, gain, Parameter(name + "bias", {kWidth}), 1e-5)
                       : RmsNorm(x, gain, 1e-5);
  }
  Tensor Branch(const std::string& name, Tensor x) {
    const Tensor wide = Gelu(
        Linear(Norm(name, x), Parameter(name + "in", {kWide, kWidth}), Parameter(name + "in.bias", {kWide})));
    return Linear(wide, Parameter(name + "out", {kWidth, kWide}), Parameter(name + "out.bias", {kWidth}));
  }

  Program program_;
  Recorder recorder_;
  const bool layer_norm_;
};

constexpr Recompute kModes[] = {Recompute::kNone, Recompute::kSelective, Recompute::kFull};

TEST(FusedTransformerTest, HasNoAdditionLeftBesideANorm) {
  const Transformer rms(Recompute::kNone, false, true, false), layer(Recompute::kFull, true, true, false);
  EXPECT_EQ(rms.Count(OpKind::kAddRmsNorm), 5);
  EXPECT_EQ(rms.Count(OpKind::kAddRmsNormGrad), 4);
  EXPECT_EQ(layer.Count(OpKind::kAddLayerNorm), 5 + 2) << "and those that are computed again";
  EXPECT_EQ(layer.Count(OpKind::kAddLayerNormGrad), 4);
  // Of the first sum, which is no norm's.
  EXPECT_EQ(rms.Count(OpKind::kAdd), 1);
}

TEST(FusedTransformerTest, HasNothingLeftBehindAProduct) {
  for (const Recompute recompute : kModes) {
    const Transformer t(recompute, true, true, false);
    // Of the first segment and of the last.
    EXPECT_EQ(t.Count(OpKind::kGeluGrad), 3);
    EXPECT_EQ(t.Count(OpKind::kColumnSum), 0);
    EXPECT_EQ(t.Count(OpKind::kLinearGelu), recompute == Recompute::kFull ? 8 : 4);
    EXPECT_EQ(t.Count(OpKind::kLinearInputGeluGrad), 4);
    EXPECT_EQ(t.Count(OpKind::kLinearWeightBiasGrad), 8);
  }
}

TEST(FusedTransformerTest, GradientsHaveTheSameBitsAsWithoutFusing) {
  for (const bool layer_norm : {false, true}) {
    for (const Recompute recompute : kModes) {
      for (const bool splits : {false, true}) {
        EXPECT_EQ(Transformer(recompute, layer_norm, true, splits).Results(),
                  Transformer(recompute, layer_norm, false, splits).Results());
      }
    }
  }
}

TEST(FusedTransformerTest, NeedsNoMoreMemory) {
  for (const Recompute recompute : kModes) {
    for (const bool splits : {false, true}) {
      const MemoryPlan fused = Transformer(recompute, false, true, splits).memory();
      const MemoryPlan apart = Transformer(recompute, false, false, splits).memory();
      SCOPED_TRACE(testing::Message() << "recompute " << static_cast<int>(recompute) << ", split " << splits);
      EXPECT_LE(fused.slot_bytes, apart.slot_bytes);
      // Where no backward is larger: a product's operand is there as long as its GELU begins to be.
      const int64_t more = splits && recompute != Recompute::kNone ? 2 * kTokens * kWidth * 8 : 0;
      EXPECT_LE(fused.transient_bytes, apart.transient_bytes + more);
    }
  }
  const MemoryPlan fused = Transformer(Recompute::kNone, false, true, false, false).memory();
  const MemoryPlan apart = Transformer(Recompute::kNone, false, false, false, false).memory();
  EXPECT_LE(fused.slot_bytes, apart.slot_bytes);
  EXPECT_LE(fused.transient_bytes, apart.transient_bytes);
}

}  // namespace
}  // namespace trireme
