// What experts of a limited capacity drop, counted by other means.
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "launch/rank_plan.h"
#include "models/chunk.h"
#include "runtime/program_test_util.h"
#include "tests/mesh_run.h"

namespace trireme {
namespace {

constexpr int64_t kSequences = 3, kLength = 10, kExperts = 5, kChoices = 2;

// The values of this name that forward ops yield, block by block.
std::vector<ValueId> ForwardValues(const Program& program, const std::string& name) {
  std::vector<ValueId> found;
  for (const Segment& segment : program.segments) {
    if (segment.region != Region::kForward) continue;
    for (const Op& op : segment.ops) {
      for (ValueId id : op.outputs) {
        if (program.value(id).name == name && op.kind != OpKind::kRelabel) found.push_back(id);
      }
    }
  }
  return found;
}

std::vector<double> Counting(int64_t n, int64_t modulus) {
  std::vector<double> numbers(n);
  for (int64_t i = 0; i < n; ++i) numbers[i] = static_cast<double>(i % modulus);
  return numbers;
}

void SetInputs(const Program& program, ProgramRun& run) {
  constexpr int64_t kTokens = kSequences * kLength;
  std::vector<double> begins = Counting(kTokens, kTokens);
  for (double& begin : begins) begin -= static_cast<int64_t>(begin) % kLength;
  run.Set(program.FindInput("ids"), Counting(kTokens, 13));
  run.Set(program.FindInput("targets"), Counting(kTokens, 11));
  run.Set(program.FindInput("positions"), Counting(kTokens, kLength));
  run.Set(program.FindInput("lo"), begins);
  run.Set(program.FindInput("token_index"), Counting(kTokens, kTokens));
  run.Set(program.dropped_choices, {0});
}

// A choice is dropped if as many tokens as the capacity chose its expert before, in its sequence.
TEST(ExpertCapacityTest, DropsWhatComesBehindTheCapacityInEverySequence) {
  const Config config = TestConfig("tiny_mixtral.textproto", {"mesh.dp=1", "model.num_hidden_layers=2",
                                                              "model.expert_capacity_factor=0.7"});
  ASSERT_EQ(config.model().num_local_experts(), kExperts);
  ASSERT_EQ(config.model().num_experts_per_tok(), kChoices);
  constexpr int kCapacity = 3;  // 0.7 * 2 * 10 / 5 = 2.8
  const std::unique_ptr<Program> program = RecordChunk(
      *CreateModel(config.model(), 1),
      {.end_block = 2, .sequences = kSequences, .sequence_length = kLength, .precision = {DType::kF64}});
  ProgramRun run(*program);
  SetInputs(*program, run);
  run.Run();
  const std::vector<ValueId> experts = ForwardValues(*program, "router.experts");
  const std::vector<ValueId> places = ForwardValues(*program, "rows.place");
  ASSERT_EQ(experts.size(), 2);
  ASSERT_EQ(places.size(), 2);
  int dropped = 0;
  for (size_t block = 0; block < 2; ++block) {
    const std::vector<double> chosen = run.Get(experts[block]), place = run.Get(places[block]);
    for (size_t c = 0; c < chosen.size(); ++c) {
      int before = 0;
      for (size_t other = c / (kLength * kChoices) * kLength * kChoices; other < c; ++other) {
        before += chosen[other] == chosen[c] ? 1 : 0;
      }
      EXPECT_EQ(place[c] < 0, before >= kCapacity) << "block " << block << ", choice " << c;
      dropped += before >= kCapacity ? 1 : 0;
    }
  }
  EXPECT_GT(dropped, 10);
  EXPECT_EQ(run.Get(program->dropped_choices), std::vector<double>{static_cast<double>(dropped)});
}

// Where every token chooses all experts, each of them drops what a sequence has more than its capacity.
TEST(ExpertCapacityTest, StepsCountWhatAllRanksDrop) {
  const std::vector<std::string> settings = {
      "train.dtype=fp64",     "model.num_hidden_layers=4",        "model.num_local_experts=4",
      "train.global_batch=8", "model.num_experts_per_tok=4",      "train.sequence_length=12",
      "train.micro_batch=2",  "model.expert_capacity_factor=0.55"};
  constexpr int64_t kCapacity = 7;  // 0.55 * 12 = 6.6
  for (const std::vector<std::string>& mesh : std::vector<std::vector<std::string>>{
           {"mesh.dp=1"}, {"mesh.dp=2", "mesh.cp=2", "mesh.ep=4"}, {"mesh.dp=2", "mesh.tp=2", "mesh.pp=2"}}) {
    std::vector<std::string> overrides = settings;
    overrides.insert(overrides.end(), mesh.begin(), mesh.end());
    const MeshRunResult run = RunOnThreads("tiny_mixtral.textproto", overrides, 2);
    EXPECT_EQ(run.dropped_choices, std::vector<int64_t>(2, 8 * 4 * 4 * (12 - kCapacity)));
  }
}

// What is never reached changes nothing.
TEST(ExpertCapacityTest, ACapacityOfAWholeSequenceIsNone) {
  const MeshRunResult without = RunOnThreads("tiny_mixtral.textproto", {"mesh.dp=1"}, 2);
  const MeshRunResult with =
      RunOnThreads("tiny_mixtral.textproto", {"mesh.dp=1", "model.expert_capacity_factor=2.5"}, 2);
  EXPECT_EQ(with.losses, without.losses);
  EXPECT_EQ(with.dropped_choices, std::vector<int64_t>(2, 0));
  const MeshRunResult tight =
      RunOnThreads("tiny_mixtral.textproto", {"mesh.dp=1", "model.expert_capacity_factor=0.5"}, 2);
  EXPECT_NE(tight.losses[0], without.losses[0]);
}

// The ops of a kind in a program for one sequence of `length` tokens, with this capacity factor.
std::vector<Op> OpsOf(OpKind kind, const std::string& factor, int64_t length, const AxisSizes& mesh,
                      Program* program) {
  const Config config =
      TestConfig("tiny_mixtral.textproto", {"mesh.dp=1", "model.num_local_experts=4", "train.global_batch=1",
                                            absl::StrCat("model.expert_capacity_factor=", factor)});
  *program = std::move(*RecordChunk(*CreateModel(config.model(), 1),
                                    {.end_block = 1, .sequence_length = length, .mesh = mesh}));
  std::vector<Op> found;
  for (const Segment& segment : program->segments) {
    for (const Op& op : segment.ops) {
      if (op.kind == kind && segment.region == Region::kForward) found.push_back(op);
    }
  }
  return found;
}

// A product that is whole but for its rounding is not rounded up: 1.1 * 2 * 20 / 4 = 11.
TEST(ExpertCapacityTest, IsTheFactorTimesTheEvenShareRoundedUp) {
  Program program;
  for (const auto& [factor, capacity] :
       std::map<std::string, int64_t>{{"1.1", 11}, {"1.11", 12}, {"0.01", 1}}) {
    const std::vector<Op> drops = OpsOf(OpKind::kDropOverflow, factor, 20, {}, &program);
    ASSERT_EQ(drops.size(), 1u);
    EXPECT_EQ(drops[0].attributes.Int("capacity"), capacity) << factor;
  }
  EXPECT_TRUE(OpsOf(OpKind::kDropOverflow, "0", 20, {}, &program).empty());
}

// Of each of two ranks two experts' rows, six a sequence: 0.5 * 2 * 12 / 4 = 3; without a capacity all 12
// tokens' two.
TEST(ExpertCapacityTest, RanksOfExpertsHaveRoomForTheCapacityAlone) {
  AxisSizes mesh;
  mesh[Axis::kDp] = mesh[Axis::kEp] = 2;
  Program program;
  for (const auto& [factor, rows] : std::map<std::string, int64_t>{{"0", 48}, {"0.5", 12}, {"10", 48}}) {
    const std::vector<Op> dispatched = OpsOf(OpKind::kDispatchRows, factor, 12, mesh, &program);
    ASSERT_EQ(dispatched.size(), 1u);
    EXPECT_EQ(program.value(dispatched[0].outputs[0]).shape[0], rows) << factor;
  }
}

}  // namespace
}  // namespace trireme
