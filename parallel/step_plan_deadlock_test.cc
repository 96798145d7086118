// The messages of whole pipelines' StepPlans on paper: with sends that complete only once their receive has
// been started, no schedule stops, and every receive gets what it waits for.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <tuple>
#include <utility>

#include "parallel/chunk_test_util.h"
#include "parallel/step_planner.h"
#include "runtime/passes/split_backward.h"

namespace trireme {
namespace {

// The chunks that a pipeline can have, by whether another is in front of and behind them.
class Chunks {
 public:
  explicit Chunks(bool splits) {
    for (bool has_input : {false, true}) {
      for (bool has_output : {false, true}) {
        Program& program = programs_[has_input][has_output];
        program = TestChunk({.has_input = has_input, .has_output = has_output}).program();
        if (splits) SplitBackward(program);
      }
    }
  }

  StageChunks At(const PipelinePlace& place) const {
    StageChunks chunks = {{}, place};
    for (int c = 0; c < place.num_chunks; ++c) {
      const int position = place.PositionOf(c);
      chunks.programs.push_back(&programs_[position > 0][position + 1 < place.num_positions()]);
    }
    return chunks;
  }

 private:
  std::array<std::array<Program, 2>, 2> programs_;
};

// From stage, to stage, and whether activations.
using Line = std::tuple<int, int, bool>;

// The line of a message, and whether it is sent.
std::pair<Line, bool> LineOf(const StepEntry& entry, int stage, int num_stages) {
  const bool turned = entry.channel >= kTurned;
  const int kind = entry.channel % kTurned;
  const bool upstream = kind == kFromPrevious || kind == kToPrevious;
  const int other = (stage + (upstream != turned ? num_stages - 1 : 1)) % num_stages;
  const bool sends = entry.message == Message::kSend;
  return {{sends ? stage : other, sends ? other : stage, kind == kFromPrevious || kind == kToNext}, sends};
}

// One message of a line: which micro-batch it is of.
struct LineState {
  std::vector<int> sent, received;
};

void ExpectRuns(const std::vector<StepPlan>& plans) {
  const int num_stages = static_cast<int>(plans.size());
  std::map<Line, LineState> lines;
  std::vector<size_t> next(num_stages, 0);
  std::vector<std::map<int, std::pair<Line, size_t>>> started(num_stages);
  const auto step = [&](int stage) {
    if (next[stage] == plans[stage].entries.size()) return false;
    const int index = static_cast<int>(next[stage]);
    const StepEntry& entry = plans[stage].entries[index];
    if (entry.kind == StepKind::kStart && entry.channel < kHomes) {
      const auto [line, sends] = LineOf(entry, stage, num_stages);
      std::vector<int>& side = sends ? lines[line].sent : lines[line].received;
      started[stage][index] = {line, side.size()};
      side.push_back(entry.micro_batch);
    } else if (const auto start = started[stage].find(entry.started);
               entry.kind == StepKind::kWait && start != started[stage].end()) {
      const LineState& line = lines[start->second.first];
      const bool sends = plans[stage].entries[entry.started].message == Message::kSend;
      if ((sends ? line.received : line.sent).size() <= start->second.second) return false;
    }
    ++next[stage];
    return true;
  };
  for (bool moved = true; moved;) {
    moved = false;
    for (int stage = 0; stage < num_stages; ++stage) {
      while (step(stage)) moved = true;
    }
  }
  for (int stage = 0; stage < num_stages; ++stage) {
    EXPECT_EQ(next[stage], plans[stage].entries.size()) << "stage " << stage << " does not go on";
  }
  for (const auto& [line, state] : lines) EXPECT_EQ(state.sent, state.received);
}

TEST(StepPlanDeadlockTest, NoScheduleStopsAndMessagesMeet) {
  const UpdateProgram update = RecordUpdate({}, {}, {});
  for (ScheduleKind kind : kAllSchedules) {
    const Chunks chunks(SplitsBackward(kind));
    for (int p : {1, 2, 3, 4, 6, 8}) {
      for (int v : {2, 3, 4}) {
        if (v > 2 && kind != ScheduleKind::kInterleaved) continue;
        for (int m : {1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 33}) {
          std::vector<StepPlan> training, evaluation;
          for (int stage = 0; stage < p; ++stage) {
            const StageChunks here = chunks.At(PlaceIn(kind, p, stage, v));
            const std::vector<Work> schedule = Schedule(kind, here.place, m);
            training.push_back(PlanTrainingStep(here, update, {}, schedule, m, 1));
            evaluation.push_back(PlanEvaluation(here, schedule, m));
          }
          SCOPED_TRACE(testing::Message() << Name(kind) << " p " << p << " v " << v << " m " << m);
          {
            SCOPED_TRACE("training");
            ExpectRuns(training);
          }
          SCOPED_TRACE("evaluation");
          ExpectRuns(evaluation);
          if (HasFailure()) return;
        }
      }
    }
  }
}

}  // namespace
}  // namespace trireme
