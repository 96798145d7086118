#include "runtime/passes/expand.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/autograd.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/program_test_util.h"

namespace trireme {
namespace {

constexpr int64_t kRows = 37, kWidth = 3, kVocabulary = 11, kPadded = 16;
constexpr int64_t kRowBytes = kPadded * 8;

// A head of its own: x and the weight are given.
class Head {
 public:
  Head(bool backward, int64_t logits_bytes, int tp = 1, double z_loss = 0)
      : recorder_(&program_, MeshOf(tp), {DType::kF64}) {
    recorder_.BeginSegment("head", Region::kForward);
    x_ = recorder_.Received("x", DType::kF64, {kRows, kWidth}, {kInvariant, kReplicate}, true);
    w_ = recorder_.Parameters(
        {{.name = "w", .global_shape = {kPadded, kWidth}, .layout = {kInvariant, Shard(0)}}});
    targets_ = recorder_.Input("targets", DType::kI32, {kRows}, {});
    const Tensor loss = LinearCrossEntropy(x_, w_, targets_, kVocabulary, z_loss);
    recorder_.Root(loss);
    program_.stage_input = x_.id();
    if (backward) {
      Differentiate(recorder_);
    } else {
      program_.loss_sum = LossSum(loss).id();
    }
    ExpandCrossEntropy(recorder_, logits_bytes);
  }

  const Program& program() const { return program_; }
  static double Target(int64_t t) { return t % 6 == 2 ? -1 : static_cast<double>(t * 7 % kVocabulary); }
  std::unique_ptr<ProgramRun> Run() const {
    auto run = std::make_unique<ProgramRun>(program_);
    std::vector<double> targets;
    for (int64_t t = 0; t < kRows; ++t) targets.push_back(Target(t));
    run->Set(targets_.id(), targets);
    run->Run();
    return run;
  }
  // Straight from the definition: the loss, and the sum of squared log-sum-exps.
  std::pair<double, double> Loss(const ProgramRun& run) const {
    const std::vector<double>&x = run.given(x_.id()), &w = run.given(w_.id());
    double loss = 0, squares = 0;
    for (int64_t t = 0; t < kRows; ++t) {
      if (Target(t) < 0) continue;
      double sum = 0;
      for (int64_t v = 0; v < kVocabulary; ++v) sum += std::exp(Logit(x, w, t, v));
      loss += std::log(sum) - Logit(x, w, t, static_cast<int64_t>(Target(t)));
      squares += std::log(sum) * std::log(sum);
    }
    return {loss, squares};
  }
  std::vector<int64_t> ChunkRows() const {
    std::vector<int64_t> rows;
    for (const Segment& segment : program_.segments) {
      for (const Op& op : segment.ops) {
        if (op.kind == OpKind::kLinear) rows.push_back(program_.value(op.outputs[0]).shape[0]);
      }
    }
    return rows;
  }

 private:
  static AxisSizes MeshOf(int tp) {
    AxisSizes mesh;
    mesh[Axis::kTp] = tp;
    return mesh;
  }
  static double Logit(const std::vector<double>& x, const std::vector<double>& w, int64_t t, int64_t v) {
    double sum = 0;
    for (int64_t d = 0; d < kWidth; ++d) sum += x[t * kWidth + d] * w[v * kWidth + d];
    return sum;
  }

  Program program_;
  Recorder recorder_;
  Tensor x_, w_, targets_;
};

TEST(ExpandTest, ChunksAreEvenAndNotAboveTheBytesGiven) {
  EXPECT_THAT(Head(true, kRows * kRowBytes).ChunkRows(), testing::ElementsAre(37));
  EXPECT_THAT(Head(true, 36 * kRowBytes).ChunkRows(), testing::ElementsAre(19, 18));
  EXPECT_THAT(Head(true, 20 * kRowBytes).ChunkRows(), testing::ElementsAre(19, 18));
  EXPECT_THAT(Head(true, 18 * kRowBytes).ChunkRows(), testing::ElementsAre(13, 13, 11));
}

TEST(ExpandTest, AChunkHasUpToSixteenRowsHoweverFewBytesThereAre) {
  EXPECT_THAT(Head(true, 1).ChunkRows(), testing::ElementsAre(13, 13, 11));
}

TEST(ExpandTest, TheLossIsThatOfTheDefinitionWhateverTheChunks) {
  for (bool backward : {false, true}) {
    for (int64_t logits_bytes : {int64_t{1}, 20 * kRowBytes, int64_t{1} << 20}) {
      const Head head(backward, logits_bytes);
      const auto run = head.Run();
      const double loss = head.Loss(*run).first;
      EXPECT_NEAR(run->loss(0), loss, 1e-12 * loss) << backward << " " << logits_bytes;
    }
  }
}

TEST(ExpandTest, TheZLossIsApartFromTheLossAndThatOfTheDefinition) {
  for (bool backward : {false, true}) {
    for (int64_t logits_bytes : {int64_t{1}, int64_t{1} << 20}) {
      const Head head(backward, logits_bytes, 1, 0.25);
      const auto run = head.Run();
      const auto [loss, squares] = head.Loss(*run);
      EXPECT_NEAR(run->loss(0, kCrossEntropyTerm), loss, 1e-12 * loss);
      EXPECT_NEAR(run->loss(0, kZLossTerm), 0.25 * squares, 1e-12 * squares);
    }
  }
}

TEST(ExpandTest, GradientsAreTheSameWhateverTheChunks) {
  const Head whole(true, int64_t{1} << 20), chunks(true, 1);
  const auto expected = whole.Run(), found = chunks.Run();
  const std::vector<double> dx = found->Get(chunks.program().stage_input_gradient);
  EXPECT_EQ(dx, expected->Get(whole.program().stage_input_gradient));
  const std::vector<double> dw = found->Get(chunks.program().parameters[0].gradient);
  const std::vector<double> expected_dw = expected->Get(whole.program().parameters[0].gradient);
  for (size_t i = 0; i < dw.size(); ++i) EXPECT_NEAR(dw[i], expected_dw[i], 1e-12);
}

TEST(ExpandTest, RowsWithoutATargetAndPaddingHaveNoGradient) {
  const Head head(true, 1);
  const auto run = head.Run();
  const std::vector<double> dx = run->Get(head.program().stage_input_gradient);
  for (int64_t t = 0; t < kRows; ++t) {
    for (int64_t d = 0; d < kWidth; ++d) EXPECT_EQ(dx[t * kWidth + d] == 0, Head::Target(t) < 0) << t;
  }
  const std::vector<double> dw = run->Get(head.program().parameters[0].gradient);
  for (int64_t v = 0; v < kPadded; ++v) EXPECT_EQ(dw[v * kWidth] == 0, v >= kVocabulary) << v;
}

TEST(ExpandTest, LogitsOfOneChunkExistAtATime) {
  const int64_t whole = ProgramRun(Head(true, int64_t{1} << 20).program()).memory().transient_bytes;
  const int64_t chunks = ProgramRun(Head(true, 1).program()).memory().transient_bytes;
  EXPECT_LE(chunks, whole - (kRows - 13) * kRowBytes);
}

TEST(ExpandTest, OnlyTheFirstChunkOverwritesTheWeightGradient) {
  const Head head(true, 1);
  std::vector<bool> adds;
  for (const Op& op : head.program().segments[1].ops) {
    if (op.kind == OpKind::kLinearWeightGrad) adds.push_back(op.always_accumulates);
  }
  EXPECT_THAT(adds, testing::ElementsAre(false, true, true));
}

TEST(ExpandTest, AShardedVocabularyCostsOneGatherOfStatisticsAChunk) {
  const Head head(true, 1, 2);
  std::vector<Shape> gathered;
  for (const Op& op : head.program().segments[1].ops) {
    if (op.kind == OpKind::kAllGather) gathered.push_back(head.program().value(op.outputs[0]).shape);
  }
  EXPECT_THAT(gathered, testing::ElementsAre(Shape({26, 3}), Shape({26, 3}), Shape({22, 3})));
}

TEST(ExpandTest, TheSegmentsStayAsTheyWere) {
  EXPECT_EQ(Head(true, 1).program().segments.size(), 2);
  EXPECT_EQ(Head(false, 1).program().segments.size(), 1);
}

}  // namespace
}  // namespace trireme
