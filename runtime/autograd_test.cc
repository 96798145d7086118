// Every differentiable op through its recording function: the gradients that Differentiate appends against
// central differences of the whole program, in double, over two micro-batches.
#include "runtime/autograd.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>

#include "runtime/cpu/tolerances.h"
#include "runtime/op_table.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/dropout.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/gather_rows.h"
#include "runtime/ops/grouped_linear.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/redistribute.h"
#include "runtime/ops/ring_attention.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/ops/rope.h"
#include "runtime/ops/routing.h"
#include "runtime/ops/shared_heads.h"
#include "runtime/passes/fuse.h"
#include "runtime/passes/fuse_products.h"
#include "runtime/program_test_util.h"
#include "runtime/recording_test_util.h"

namespace trireme {
namespace {

constexpr int kMicroBatches = 2;

// What backward differentiates: the losses, and the output's product with the gradient that it receives.
double Objective(ProgramRun& run) {
  run.Run();
  const Program& program = run.program();
  double sum = 0;
  for (int m = 0; m < run.num_micro_batches(); ++m) {
    for (int64_t term = 0; program.loss_sum != kNoValue && term < run.num_terms(); ++term) {
      sum += run.loss(m, term);
    }
    if (program.stage_output == kNoValue) continue;
    const std::vector<double> y = run.Get(program.stage_output, m);
    const std::vector<double>& dy = run.given(program.stage_output_gradient, m);
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
  }
  return sum;
}

void ExpectGradient(ProgramRun& run, ValueId of, int micro_batch, const std::vector<double>& gradient) {
  SCOPED_TRACE(run.program().value(of).name);
  constexpr double kStep = 1e-5;
  std::vector<double> numbers = run.given(of, micro_batch);
  ASSERT_EQ(gradient.size(), numbers.size());
  double scale = 0;
  for (double g : gradient) scale = std::max(scale, std::abs(g));
  EXPECT_GT(scale, 0);
  auto objective_at = [&](size_t i, double number) {
    std::vector<double> moved = numbers;
    moved[i] = number;
    run.Set(of, moved, micro_batch);
    return Objective(run);
  };
  for (size_t i = 0; i < numbers.size(); ++i) {
    const double difference =
        (objective_at(i, numbers[i] + kStep) - objective_at(i, numbers[i] - kStep)) / (2 * kStep);
    EXPECT_NEAR(gradient[i], difference, 10 * kDifferenceTolerance * (1 + scale)) << "element " << i;
  }
  run.Set(of, numbers, micro_batch);
}

// Of every parameter (summed over the micro-batches) and of the stage's input in each of them.
void ExpectGradientsMatchDifferences(ProgramRun& run) {
  const Program& program = run.program();
  run.Run();
  std::vector<std::vector<double>> gradients, input_gradients;
  for (const ParameterGroup& group : program.parameters) gradients.push_back(run.Get(group.gradient));
  for (int m = 0; program.stage_input != kNoValue && m < run.num_micro_batches(); ++m) {
    input_gradients.push_back(run.Get(program.stage_input_gradient, m));
  }
  for (size_t g = 0; g < gradients.size(); ++g) {
    ExpectGradient(run, program.parameters[g].value, 0, gradients[g]);
  }
  for (size_t m = 0; m < input_gradients.size(); ++m) {
    ExpectGradient(run, program.stage_input, static_cast<int>(m), input_gradients[m]);
  }
}

struct GradientCase {
  const char* name;
  int tp = 1;
  // Records a program; its result is the stage's output, or absent where the program has a root.
  std::function<Tensor(Recording& r)> record;
};

constexpr HeadShape kHeads = {4, 2, 2};

const std::vector<GradientCase>& Cases() {
  static const auto& cases = *new std::vector<GradientCase>{
      {"Linear", 1,
       [](Recording& r) {
         return Linear(r.X({5, 3}), r.P("w", {4, 3}));
       }},
      {"LinearWithBias", 1,
       [](Recording& r) {
         return Linear(r.X({5, 3}), r.P("w", {4, 3}), r.P("b", {4}));
       }},
      {"GroupOfWeights", 1,
       [](Recording& r) {
         const Tensor w = r.recorder().Parameters(
             {{.name = "q", .global_shape = {4, 3}}, {.name = "k", .global_shape = {2, 3}}});
         return Linear(r.X({5, 3}), w);
       }},
      {"RowParallelBias", 2,
       [](Recording& r) {
         const Tensor w = r.P("w", {4, 6}, {kInvariant, Shard(1)});
         const Tensor bias = Redistribute(r.P("b", {4}), Axis::kTp, kPartial);
         return Linear(r.X({5, 3}, {kInvariant, Shard(1)}), w, bias);
       }},
      {"RowParallelBiasOnOneRank", 1,
       [](Recording& r) {
         const Tensor w = r.P("w", {4, 3}, {kInvariant, Shard(1)});
         const Tensor bias = Redistribute(r.P("b", {4}), Axis::kTp, kPartial);
         const Tensor y = Linear(r.X({5, 3}, {kInvariant, Shard(1)}), w, bias);
         return Redistribute(y, Axis::kTp, kInvariant);
       }},
      {"Relabel", 1,
       [](Recording& r) {
         return Redistribute(r.X({3, 2}), Axis::kTp, kReplicate) + r.P("p", {3, 2}, kReplicated);
       }},
      {"Add", 1,
       [](Recording& r) {
         return r.X({3, 2}) + r.P("p", {3, 2});
       }},
      {"Gelu", 1,
       [](Recording& r) {
         return Gelu(r.X({3, 5}));
       }},
      {"SwiGlu", 1,
       [](Recording& r) {
         return SwiGlu(r.X({3, 10}));
       }},
      {"Dropout", 1,
       [](Recording& r) {
         const Tensor index = r.Integers("token_index", DType::kI64, {3, 70, 11});
         return Dropout(Gelu(r.X({3, 9})), index, 0.4, 7, "mask");
       }},
      {"RmsNorm", 1,
       [](Recording& r) {
         return RmsNorm(r.X({4, 5}), r.P("gain", {5}), 1e-5);
       }},
      {"LayerNorm", 1,
       [](Recording& r) {
         return LayerNorm(r.X({4, 5}), r.P("gain", {5}), r.P("bias", {5}), 1e-5);
       }},
      {"Rope", 1,
       [](Recording& r) {
         const Tensor positions = r.Integers("positions", DType::kI32, {0, 1, 2, 0, 1});
         return Gelu(Rope(r.X({5, kHeads.columns()}), positions, kHeads, 100));
       }},
      {"Attention", 1,
       [](Recording& r) {
         const Tensor lo = r.Integers("lo", DType::kI32, {0, 0, 0, 3, 3, 4});
         return Attention(r.X({6, kHeads.columns()}), lo, kHeads, 2);
       }},
      {"AttentionWithSlopes", 1,
       [](Recording& r) {
         const Tensor lo = r.Integers("lo", DType::kI32, {0, 0, 0, 3, 3, 4});
         const Tensor slopes = r.Integers("slopes", DType::kF32, {0.5, 0.25, 2, 1});
         return Attention(r.X({6, kHeads.columns()}), lo, kHeads, 2, slopes);
       }},
      // Rank 0 of four: the first of two heads of either matrix.
      {"SharedHeads", 4,
       [](Recording& r) {
         const Tensor w = r.recorder().Parameters(
             {{.name = "k", .global_shape = {4, 3}, .layout = {kInvariant, kReplicate}},
              {.name = "v", .global_shape = {4, 3}, .layout = {kInvariant, kReplicate}}});
         const Tensor x = r.X({5, 3}, kReplicated);
         const Tensor q = Linear(x, r.P("q", {8, 3}, {kInvariant, Shard(0)}));
         return ConcatColumns(q, Linear(x, SharedRows(w, 2, 2)));
       }},
      {"Embedding", 1,
       [](Recording& r) {
         return Embedding(r.Integers("ids", DType::kI32, {2, 0, 2, 6}), r.P("table", {7, 3}));
       }},
      {"ShardedEmbedding", 2,
       [](Recording& r) {
         return Embedding(r.Integers("ids", DType::kI32, {2, 0, 2, 6}), r.P("table", {8, 3}, kVocabulary));
       }},
      {"Residual", 1,
       [](Recording& r) {
         const Tensor x = r.X({3, 4});
         const Tensor h = x + Gelu(x);
         return h + Linear(RmsNorm(h, r.P("gain", {4}), 1e-5), r.P("w", {4, 4}));
       }},
      {"ResidualOfLayerNorms", 1,
       [](Recording& r) {
         const Tensor x = r.X({3, 4});
         const Tensor h = x + Gelu(x);
         const Tensor norm = LayerNorm(h, r.P("gain", {4}), r.P("bias", {4}), 1e-5);
         return h +
                Linear(Gelu(Linear(norm, r.P("w", {5, 4}), r.P("b", {5}))), r.P("v", {4, 5}), r.P("c", {4}));
       }},
      {"TheSameValueTwice", 1,
       [](Recording& r) {
         const Tensor x = Gelu(r.X({3, 4}));
         return x + x;
       }},
      {"TiedWeight", 1,
       [](Recording& r) {
         const Tensor h = Gelu(Linear(r.X({3, 4}), r.P("w", {4, 4})));
         r.recorder().BeginSegment("second", Region::kForward);
         return Linear(h, r.P("w", {4, 4}));
       }},
      {"TiedEmbeddingAndHead", 1,
       [](Recording& r) {
         const Tensor x =
             Embedding(r.Integers("ids", DType::kI32, {2, 0, 2, 6}), r.P("table", {16, 3}, kVocabulary));
         r.recorder().BeginSegment("head", Region::kForward);
         const Tensor h = Redistribute(Redistribute(x, Axis::kTp, kInvariant), Axis::kTp, kReplicate);
         return HeadOf(r, h, r.P("table", {16, 3}, kVocabulary), 11);
       }},
      {"TiedNormOfBothVectors", 1,
       [](Recording& r) {
         const Tensor h = LayerNorm(r.X({4, 5}), r.P("gain", {5}), r.P("bias", {5}), 1e-5);
         return LayerNorm(Gelu(h), r.P("gain", {5}), r.P("bias", {5}), 1e-5);
       }},
      {"AGainMadeOfTwoParameters", 1,
       [](Recording& r) {
         return RmsNorm(r.X({4, 5}), r.P("a", {5}) + r.P("b", {5}), 1e-5);
       }},
      {"CrossEntropyInOneChunk", 1,
       [](Recording& r) {
         return HeadOf(r, r.X({9, 3}, kReplicated), r.P("w", {16, 3}, kVocabulary), 16);
       }},
      // The first rank of one: all of the ring that needs no other.
      {"RingAttention", 1,
       [](Recording& r) {
         const HeadShape heads = {4, 2, 2};
         const Tensor spans = r.Integers("spans", DType::kI32, {0, 0, 0, 2, 2, 1, 2, 3, 4, 5});
         return RingAttention(r.X({5, heads.columns()}, {Shard(0), kInvariant}), spans, heads, 3);
       }},
      {"RingAttentionWithSlopes", 1,
       [](Recording& r) {
         const HeadShape heads = {4, 2, 2};
         const Tensor spans = r.Integers("spans", DType::kI32, {0, 0, 0, 2, 2, 1, 2, 3, 4, 5});
         const Tensor slopes = r.Integers("slopes", DType::kF32, {0.5, 0.25, 2, 1});
         const Tensor places = r.Integers("places", DType::kI32, {3, 4, 6, 17, 18});
         return RingAttention(r.X({5, heads.columns()}, {Shard(0), kInvariant}), spans, heads, 3, slopes,
                              places);
       }},
      // 37 rows in chunks of 13, 13 and 11; five rows of w are padding.
      {"CrossEntropyInUnevenChunks", 1,
       [](Recording& r) {
         return HeadOf(r, Redistribute(Gelu(r.X({37, 2})), Axis::kTp, kReplicate),
                       r.P("w", {16, 2}, kVocabulary), 11);
       }},
      {"CrossEntropyWithZLoss", 1,
       [](Recording& r) {
         return HeadOf(r, Redistribute(Gelu(r.X({37, 2})), Axis::kTp, kReplicate),
                       r.P("w", {16, 2}, kVocabulary), 11, 0.25);
       }},
      // Each token's two of three experts, there and back, with the router's losses.
      {"MixtureOfExperts", 1,
       [](Recording& r) {
         const Tensor x = r.X({6, 4});
         const Tensor logits = Linear(x, r.P("gate", {3, 4}));
         const Routing routing = Router(logits, 2);
         r.recorder().Root(RouterLoss(logits, CountChoices(routing.experts, 3, 2), 3, 0.5, 0.25));
         const Groups groups = GroupByExpert(routing.experts, 3);
         const Tensor y = GroupedLinear(PermuteRows(x, groups), r.P("w", {3 * 5, 4}), groups.offsets);
         return CombineRows(y, routing.weights, groups);
       }},
  };
  return cases;
}

class AutogradTest : public testing::TestWithParam<GradientCase> {};

TEST_P(AutogradTest, GradientsMatchDifferences) {
  Recording r(GetParam().tp);
  Finish(r, GetParam().record(r));
  ProgramRun run(r.program(), {.num_micro_batches = kMicroBatches, .mesh = Recording::MeshOf(GetParam().tp)});
  for (const auto& [id, numbers] : r.integers()) run.Set(id, numbers);
  ExpectGradientsMatchDifferences(run);
  EXPECT_THAT(MemoryViolations(r.program(), run.memory(), CpuDevice(1, KernelChoice::kPlain)),
              testing::IsEmpty());
}

// What the fuse passes make of ops has the gradient that they have.
TEST(AutogradOfFusedOpsTest, GradientsMatchDifferences) {
  std::set<OpKind> seen;
  for (const GradientCase& c : Cases()) {
    if (!std::string(c.name).starts_with("Residual")) continue;
    SCOPED_TRACE(c.name);
    Recording r;
    r.program().stage_output = c.record(r).id();
    Differentiate(r.recorder());
    FusePass(r.program());
    FuseProductsPass(r.program());
    for (const Segment& segment : r.program().segments) {
      for (const Op& op : segment.ops) seen.insert(op.kind);
    }
    ProgramRun run(r.program(), {.num_micro_batches = kMicroBatches});
    ExpectGradientsMatchDifferences(run);
    EXPECT_THAT(MemoryViolations(r.program(), run.memory(), CpuDevice(1, KernelChoice::kPlain)),
                testing::IsEmpty());
  }
  for (OpKind kind :
       {OpKind::kAddRmsNorm, OpKind::kAddRmsNormGrad, OpKind::kAddLayerNorm, OpKind::kAddLayerNormGrad,
        OpKind::kLinearGelu, OpKind::kLinearInputGeluGrad, OpKind::kLinearWeightBiasGrad}) {
    EXPECT_TRUE(seen.contains(kind)) << Name(kind);
  }
}

INSTANTIATE_TEST_SUITE_P(OfEveryOp, AutogradTest, testing::ValuesIn(Cases()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(AutogradCoverageTest, EveryDifferentiableOpHasACase) {
  // What moves data between ranks is checked where ranks are, beside the communicators.
  std::set<OpKind> seen = {OpKind::kAllReduce,    OpKind::kAllGather,  OpKind::kReduceScatter,
                           OpKind::kDispatchRows, OpKind::kReturnRows, OpKind::kSplitHeads,
                           OpKind::kJoinHeads,    OpKind::kAllToAll};
  for (const GradientCase& c : Cases()) {
    Recording r(c.tp);
    c.record(r);
    for (const Segment& segment : r.program().segments) {
      for (const Op& op : segment.ops) seen.insert(op.kind);
    }
  }
  for (int kind = 0; kind < kNumOpKinds; ++kind) {
    const bool differentiable = Definition(static_cast<OpKind>(kind)).gradient != nullptr;
    EXPECT_TRUE(!differentiable || seen.contains(static_cast<OpKind>(kind)))
        << Name(static_cast<OpKind>(kind));
  }
}

}  // namespace
}  // namespace trireme
