// The moves between layouts on ranks: each move's gradient is its transpose, and moves what it says.
#include "runtime/ops/redistribute.h"

#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "parallel/thread_communicator.h"
#include "runtime/autograd.h"
#include "runtime/ops/head_exchange.h"
#include "runtime/program_test_util.h"
#include "runtime/random.h"

namespace trireme {
namespace {

constexpr int kRanks = 3;
constexpr HeadShape kHeads = {6, 3, 1};  // where tokens are exchanged for heads
constexpr int64_t kRows = 6, kCols = 12;

// A value of one rank, made so that its placement is true: equal on all ranks where it should be.
std::vector<double> Numbers(Placement placement, const char* name, const Shape& shape, int rank) {
  const bool same = placement == kReplicate || placement == kInvariant;
  const RandomStream stream(same ? 99 : static_cast<uint64_t>(rank), name);
  std::vector<double> numbers(shape.num_elements());
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = stream.Normal(i);
  return numbers;
}

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

struct Moved {
  std::vector<double> x[kRanks], y[kRanks], dx[kRanks], dy[kRanks];
};

Tensor MoveTo(Tensor x, Placement from, Placement to) {
  if (to == Shard(1)) return TokensToHeads(x, Axis::kTp, kHeads);
  if (from == Shard(1)) return HeadsToTokens(x, Axis::kTp, kHeads);
  return Redistribute(x, Axis::kTp, to);
}

Moved Move(Placement from, Placement to) {
  Moved moved;
  std::mutex mutex;
  RunThreadRanks(kRanks, [&](Communicator& world) {
    AxisSizes mesh, coordinate = {{0, 0, 0, 0}};
    mesh[Axis::kTp] = kRanks;
    coordinate[Axis::kTp] = world.rank();
    Program program;
    Recorder recorder(&program, mesh, {.compute = DType::kF64});
    recorder.BeginSegment("move", Region::kForward);
    Shape shape = {kRows, kCols};
    if (from.is_shard()) shape[from.dim] /= kRanks;
    const Tensor x = recorder.Received("x", DType::kF64, shape, {kInvariant, from}, true);
    program.stage_input = x.id();
    program.stage_output = MoveTo(x, from, to).id();
    Differentiate(recorder);
    ProgramRun run(program, {.mesh = mesh, .coordinate = coordinate, .tp = &world});
    const Value& dy = program.value(program.stage_output_gradient);
    run.Set(x.id(), Numbers(from, "x", shape, world.rank()));
    run.Set(program.stage_output_gradient, Numbers(dy.layout[Axis::kTp], "dy", dy.shape, world.rank()));
    run.Run();
    const std::lock_guard<std::mutex> lock(mutex);
    const int r = world.rank();
    moved.x[r] = run.given(x.id());
    moved.dy[r] = run.given(program.stage_output_gradient);
    moved.y[r] = run.Get(program.stage_output);
    moved.dx[r] = run.Get(program.stage_input_gradient);
  });
  return moved;
}

// <y, dy> and <x, dx> over the mesh. A value and its gradient pair up once a rank where one of them is Shard
// or Partial; where both are the same on every rank (Invariant), once.
double Pairing(Placement placement, const std::vector<double>* a, const std::vector<double>* b) {
  double sum = 0;
  for (int r = 0; r < kRanks; ++r) sum += Dot(a[r], b[r]);
  return placement == kInvariant ? sum / kRanks : sum;
}

struct MoveCase {
  const char* name;
  Placement from, to;
};

class RedistributeTest : public testing::TestWithParam<MoveCase> {};

TEST_P(RedistributeTest, TheGradientIsTheTranspose) {
  const auto& [name, from, to] = GetParam();
  const Moved moved = Move(from, to);
  const double forward = Pairing(to, moved.y, moved.dy), backward = Pairing(from, moved.x, moved.dx);
  EXPECT_GT(std::abs(forward), 1e-3);
  EXPECT_NEAR(forward, backward, 1e-12);
}

INSTANTIATE_TEST_SUITE_P(OfEveryMove, RedistributeTest,
                         testing::Values(MoveCase{"InvariantToReplicate", kInvariant, kReplicate},
                                         MoveCase{"PartialToInvariant", kPartial, kInvariant},
                                         MoveCase{"ShardToReplicate", Shard(0), kReplicate},
                                         MoveCase{"PartialToShard", kPartial, Shard(0)},
                                         MoveCase{"TokensToHeads", Shard(0), Shard(1)},
                                         MoveCase{"HeadsToTokens", Shard(1), Shard(0)},
                                         MoveCase{"InvariantToPartial", kInvariant, kPartial},
                                         MoveCase{"ReplicateToPartial", kReplicate, kPartial}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(RedistributeValueTest, AllReduceAddsTheRanks) {
  const Moved moved = Move(kPartial, kInvariant);
  for (int r = 0; r < kRanks; ++r) {
    for (int64_t i = 0; i < kRows * kCols; ++i) {
      EXPECT_NEAR(moved.y[r][i], moved.x[0][i] + moved.x[1][i] + moved.x[2][i], 1e-14);
    }
  }
}

TEST(RedistributeValueTest, AllGatherPutsTheRowsInRankOrder) {
  const Moved moved = Move(Shard(0), kReplicate);
  std::vector<double> rows;
  for (const std::vector<double>& x : moved.x) rows.insert(rows.end(), x.begin(), x.end());
  for (const std::vector<double>& y : moved.y) EXPECT_EQ(y, rows);
}

// Of 6 query, 3 key and 3 value heads a rank gets two, one and one.
TEST(RedistributeValueTest, HeadsGoToTheirRanksInGroups) {
  const Moved moved = Move(Shard(0), Shard(1));
  constexpr int64_t kTokens = kRows / kRanks, kHere = kCols / kRanks;
  for (int r = 0; r < kRanks; ++r) {
    const int64_t columns[kHere] = {2 * r, 2 * r + 1, 6 + r, 9 + r};
    for (int64_t t = 0; t < kRows; ++t) {
      const double* row = moved.x[t / kTokens].data() + t % kTokens * kCols;
      for (int64_t i = 0; i < kHere; ++i) EXPECT_EQ(moved.y[r][t * kHere + i], row[columns[i]]);
    }
  }
}

TEST(RedistributeValueTest, KeepOnFirstIsCountedOnce) {
  const Moved moved = Move(kInvariant, kPartial);
  EXPECT_EQ(moved.y[0], moved.x[0]);
  for (int r : {1, 2}) EXPECT_EQ(moved.y[r], std::vector<double>(kRows * kCols, 0));
}

}  // namespace
}  // namespace trireme
