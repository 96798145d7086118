#include "runtime/passes/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "runtime/ops/activation.h"
#include "runtime/ops/dropout.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/redistribute.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/program_test_util.h"

namespace trireme {
namespace {

using testing::IsEmpty;

constexpr int64_t kRows = 6, kWidth = 8;
constexpr int64_t kBytes = kRows * kWidth * 4;

class MemoryPlanTest : public testing::Test {
 protected:
  MemoryPlanTest() : recorder_(&program_, {}, {}) { recorder_.BeginSegment("forward", Region::kForward); }

  Tensor Input(const char* name) { return recorder_.Input(name, DType::kF32, {kRows, kWidth}, {}); }
  void BeginBackward() { recorder_.BeginSegment("backward", Region::kBackward, 0); }
  MemoryPlan Plan() {
    MemoryPlan plan = PlanMemory(program_, device_);
    EXPECT_THAT(MemoryViolations(program_, plan, device_), IsEmpty());
    return plan;
  }
  static bool Together(const MemoryPlan& plan, Tensor a, Tensor b) {
    const MemoryPlan::Place &pa = plan.places[a.id()], &pb = plan.places[b.id()];
    return pa.kind == pb.kind && pa.offset == pb.offset;
  }

  CpuDevice device_{1, KernelChoice::kPlain};
  Program program_;
  Recorder recorder_;
};

TEST_F(MemoryPlanTest, WhatOneRegionUsesIsTransientAndWhatBackwardReadsIsInTheSlot) {
  const Tensor x = Input("x");
  const Tensor a = Gelu(x), b = Gelu(a), c = Gelu(b);
  BeginBackward();
  const Tensor d = Gelu(a);
  const MemoryPlan plan = Plan();
  EXPECT_EQ(plan.places[x.id()].kind, MemoryKind::kSlot);
  EXPECT_EQ(plan.places[a.id()].kind, MemoryKind::kSlot);
  EXPECT_EQ(plan.places[b.id()].kind, MemoryKind::kTransient);
  EXPECT_EQ(plan.places[c.id()].kind, MemoryKind::kTransient);
  EXPECT_EQ(plan.places[d.id()].kind, MemoryKind::kTransient);
  EXPECT_EQ(plan.slot_bytes, 2 * kBytes);
  EXPECT_EQ(plan.transient_bytes, 2 * kBytes);
}

TEST_F(MemoryPlanTest, WhatCrossesAStagesBorderIsInTheSlot) {
  const Tensor x = recorder_.Received("x", DType::kF32, {kRows, kWidth}, {}, true);
  const Tensor y = Gelu(x);
  program_.stage_input = x.id();
  program_.stage_output = y.id();
  BeginBackward();
  const Tensor dy = recorder_.Received("dy", DType::kF32, {kRows, kWidth}, {}, false);
  const Tensor dx = Gelu(dy);
  program_.stage_input_gradient = dx.id();
  const MemoryPlan plan = Plan();
  for (Tensor value : {x, y, dy, dx}) EXPECT_EQ(plan.places[value.id()].kind, MemoryKind::kSlot);
  EXPECT_EQ(plan.slot_bytes, 4 * kBytes);
}

TEST_F(MemoryPlanTest, ParametersAndStateAreTheCallers) {
  const Tensor w = recorder_.Parameters({{.name = "w", .global_shape = {kWidth, kWidth}}});
  const Tensor state = recorder_.State("state", DType::kF32, {kRows, kWidth}, {});
  Linear(Input("x"), w) + state;
  const MemoryPlan plan = Plan();
  EXPECT_EQ(plan.places[w.id()].kind, MemoryKind::kBound);
  EXPECT_EQ(plan.places[state.id()].kind, MemoryKind::kBound);
}

TEST_F(MemoryPlanTest, AResultTakesOverWhatItMayOverwrite) {
  const Tensor a = Gelu(Input("x")), b = Gelu(Input("y"));
  const Tensor sum = a + b;
  const MemoryPlan plan = Plan();
  EXPECT_TRUE(Together(plan, sum, a));
  EXPECT_FALSE(Together(plan, sum, b));
  EXPECT_EQ(plan.transient_bytes, 2 * kBytes);
}

TEST_F(MemoryPlanTest, ARowOfOverwritingOpsNeedsOnePlace) {
  const Tensor other = Gelu(Input("y"));
  Tensor x = Gelu(Input("x"));
  for (int i = 0; i < 4; ++i) x = x + other;
  EXPECT_EQ(Plan().transient_bytes, 2 * kBytes);
}

TEST_F(MemoryPlanTest, NothingIsOverwrittenThatIsReadLater) {
  const Tensor a = Gelu(Input("x")), b = Gelu(Input("y"));
  const Tensor sum = a + b;
  Gelu(a);
  EXPECT_FALSE(Together(Plan(), sum, a));
}

TEST_F(MemoryPlanTest, NothingIsOverwrittenThatAWindowReadsLater) {
  const Tensor a = Gelu(Input("x")), b = Gelu(Input("y"));
  const Tensor window = recorder_.Rows(a, 2, 3);
  const Tensor sum = a + b;
  Gelu(window);
  EXPECT_FALSE(Together(Plan(), sum, a));
}

TEST_F(MemoryPlanTest, AWindowIsNeverTakenOver) {
  const Tensor a = Gelu(Input("x"));
  const Tensor top = recorder_.Rows(a, 0, 3), bottom = recorder_.Rows(a, 3, 3);
  const Tensor sum = top + bottom;
  Gelu(sum);
  EXPECT_FALSE(Together(Plan(), sum, a));
}

TEST_F(MemoryPlanTest, NothingIsOverwrittenOfWhichTheOpReadsAPartToo) {
  const Tensor gate_up = Gelu(Input("x"));
  const Tensor part = recorder_.Alias(recorder_.Rows(gate_up, 3, 3), "part", {kRows, kWidth / 2}, {});
  const Tensor result =
      recorder_.Record1(OpKind::kSwiGluGrad, {part, gate_up}, {"result", DType::kF32, gate_up.shape(), {}});
  EXPECT_FALSE(Together(Plan(), result, gate_up));
}

TEST_F(MemoryPlanTest, AnInputOfTheCallerIsNeverOverwritten) {
  const Tensor x = Input("x"), y = Gelu(Input("y"));
  EXPECT_FALSE(Together(Plan(), x + y, x));
}

TEST_F(MemoryPlanTest, WhatTakesOverSavedMemoryStaysInTheSlot) {
  const Tensor a = Gelu(Input("x"));
  BeginBackward();
  const Tensor sum = a + Gelu(Input("y"));
  Gelu(sum);
  const MemoryPlan plan = Plan();
  EXPECT_EQ(plan.places[a.id()].kind, MemoryKind::kSlot);
  EXPECT_TRUE(Together(plan, sum, a));
}

TEST_F(MemoryPlanTest, WhatIsSavedTakesItsMemoryToTheSlot) {
  const Tensor a = Gelu(Input("x"));
  const Tensor sum = a + Gelu(Input("y"));
  BeginBackward();
  Gelu(sum);
  const MemoryPlan plan = Plan();
  EXPECT_EQ(plan.places[sum.id()].kind, MemoryKind::kSlot);
  EXPECT_TRUE(Together(plan, sum, a));
}

TEST_F(MemoryPlanTest, AnAliasKeepsItsStorageAlive) {
  const Tensor a = Gelu(Input("x"));
  const Tensor label = Redistribute(a, Axis::kTp, kReplicate);
  BeginBackward();
  Gelu(label);
  EXPECT_EQ(Plan().places[a.id()].kind, MemoryKind::kSlot);
}

TEST_F(MemoryPlanTest, EveryPlaceIsAligned) {
  const Tensor small = Gelu(recorder_.Input("small", DType::kF32, {3, 1}, {}));
  const Tensor x = Gelu(Input("x"));
  BeginBackward();
  Gelu(small);
  Gelu(x);
  for (const MemoryPlan::Place& place : Plan().places) EXPECT_EQ(place.offset % kMemoryAlignment, 0);
}

TEST_F(MemoryPlanTest, TheCheckSeesTwoLiveValuesInOnePlace) {
  const Tensor a = Gelu(Input("x")), b = Gelu(Input("y"));
  Gelu(a);
  Gelu(b);
  MemoryPlan plan = Plan();
  plan.places[b.id()].offset = plan.places[a.id()].offset;
  EXPECT_THAT(MemoryViolations(program_, plan, device_), testing::Not(IsEmpty()));
}

TEST_F(MemoryPlanTest, TheCheckSeesASavedValueInTransientMemory) {
  const Tensor a = Gelu(Input("x"));
  BeginBackward();
  Gelu(a);
  MemoryPlan plan = Plan();
  plan.places[a.id()] = {MemoryKind::kTransient, 0};
  plan.transient_bytes = 2 * kBytes;
  EXPECT_THAT(MemoryViolations(program_, plan, device_), testing::Not(IsEmpty()));
}

TEST_F(MemoryPlanTest, TheCheckSeesAnOpWriteOverItsInput) {
  const Tensor a = Gelu(Input("x"));
  const Tensor b = Gelu(a);
  MemoryPlan plan = Plan();
  plan.places[b.id()] = plan.places[a.id()];
  EXPECT_THAT(MemoryViolations(program_, plan, device_),
              testing::ElementsAre(testing::HasSubstr("written over")));
}

// Ops at random on values at random, of all of which some later op may read any.
class RandomProgram {
 public:
  explicit RandomProgram(unsigned seed) : random_(seed), recorder_(&program_, {}, {}) {
    recorder_.BeginSegment("0", Region::kForward);
    w_ = recorder_.Parameters({{.name = "w", .global_shape = {kWidth, kWidth}}});
    gain_ = recorder_.Parameters({{.name = "gain", .global_shape = {kWidth}}});
    values_.push_back(recorder_.Input("x", DType::kF32, {kRows, kWidth}, {}));
    values_.push_back(recorder_.Received("y", DType::kF32, {kRows, kWidth}, {}, false));
    AddOps(15);
    recorder_.BeginSegment("1", Region::kForward);
    AddOps(15);
    program_.stage_output = Any().id();
    recorder_.BeginSegment("1", Region::kBackward, 1);
    AddOps(15);
    recorder_.BeginSegment("0", Region::kBackward, 0);
    AddOps(15);
    program_.stage_input_gradient = values_.back().id();
  }
  const Program& program() const { return program_; }

 private:
  // Recent values more often: others die.
  Tensor Any() {
    const size_t back =
        std::min<size_t>(random_() % 4 == 0 ? random_() % values_.size() : random_() % 3, values_.size() - 1);
    return values_[values_.size() - 1 - back];
  }
  void AddOps(int count) {
    for (int i = 0; i < count; ++i) values_.push_back(Op(Any()));
  }
  Tensor Op(Tensor x) {
    switch (random_() % 6) {
      case 0:
        return Gelu(x);
      case 1:
        return Linear(x, w_);
      case 2:
        return RmsNorm(x, gain_, 1e-5);
      case 3:
        return Redistribute(Redistribute(x, Axis::kTp, kPartial), Axis::kTp, kInvariant);
      case 4: {
        // Rows of both, added, somewhere in a value of their own.
        const int64_t rows = 1 + static_cast<int64_t>(random_() % (kRows - 1));
        const Tensor sum = recorder_.Rows(x, 0, rows) + recorder_.Rows(Any(), kRows - rows, rows);
        return Any() + Linear(Pad(sum), w_);
      }
      default:
        return x + Any();
    }
  }
  // A value whose first rows are `top` and whose others another op wrote.
  Tensor Pad(Tensor top) {
    const int64_t rows = top.shape()[0];
    const Tensor whole = recorder_.Buffer({"buffer", DType::kF32, {kRows, kWidth}, {}});
    WriteInto(Gelu(top), whole, 0);
    WriteInto(Gelu(recorder_.Rows(Any(), rows, kRows - rows)), whole, rows);
    return whole;
  }
  void WriteInto(Tensor part, Tensor whole, int64_t row) {
    program_.values[part.id()].base = whole.id();
    program_.values[part.id()].offset = row * kWidth;
  }

  std::mt19937 random_;
  Program program_;
  Recorder recorder_;
  Tensor w_, gain_;
  std::vector<Tensor> values_;
};

TEST(MemoryPlanOfRandomProgramsTest, NoTwoLiveValuesShareMemory) {
  const CpuDevice device(1);
  for (unsigned seed = 0; seed < 300; ++seed) {
    const RandomProgram random(seed);
    const MemoryPlan plan = PlanMemory(random.program(), device);
    ASSERT_THAT(MemoryViolations(random.program(), plan, device), IsEmpty()) << "seed " << seed << "\n"
                                                                             << random.program().ToString();
  }
}

TEST(MemoryPlanOfRandomProgramsTest, MemoryIsReused) {
  const CpuDevice device(1);
  int64_t planned = 0, all = 0;
  for (unsigned seed = 0; seed < 20; ++seed) {
    const RandomProgram random(seed);
    planned += PlanMemory(random.program(), device).transient_bytes;
    for (const Value& value : random.program().values) {
      if (value.base == kNoValue) all += value.size_bytes();
    }
  }
  EXPECT_LT(planned, all / 2);
}

}  // namespace
}  // namespace trireme
