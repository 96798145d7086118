#include "parallel/schedule_simulator.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

using Kind = Work::Kind;

double Cost(const Work& work, const WorkCosts& costs) {
  switch (work.kind) {
    case Kind::kForward:
      return costs.forward;
    case Kind::kBackward:
      return costs.backward;
    case Kind::kBackwardInput:
      return costs.backward_input;
    case Kind::kBackwardWeight:
      return costs.backward_weight;
  }
  return 0;
}

// What of one (chunk, micro-batch) a stage has done.
struct Progress {
  bool forward = false;
  bool backward_input = false;
  bool backward_weight = false;
};

using ProgressOfStage = std::map<std::pair<int, int>, Progress>;

absl::Status Refuse(int stage, const Work& work, const char* why) {
  return absl::InvalidArgumentError(absl::StrCat("stage ", stage, ": ", ToString(work), " ", why));
}

absl::Status Do(int stage, const Work& work, Progress& progress) {
  const bool does_input = work.kind == Kind::kBackward || work.kind == Kind::kBackwardInput;
  const bool does_weight = work.kind == Kind::kBackward || work.kind == Kind::kBackwardWeight;
  if (work.is_forward()) {
    if (std::exchange(progress.forward, true)) return Refuse(stage, work, "comes twice");
    return absl::OkStatus();
  }
  if (!progress.forward) return Refuse(stage, work, "comes before its forward");
  if (work.kind == Kind::kBackwardWeight && !progress.backward_input) {
    return Refuse(stage, work, "comes before its backward_input");
  }
  if ((does_input && progress.backward_input) || (does_weight && progress.backward_weight)) {
    return Refuse(stage, work, "comes twice");
  }
  progress.backward_input |= does_input;
  progress.backward_weight |= does_weight;
  return absl::OkStatus();
}

// Whether what this stage itself gives to `work` is there.
bool IsFed(const Work& work, const PipelinePlace& place, ProgressOfStage& progress) {
  if (!TakesFromSameStage(work, place)) return true;
  // Its feeder is the neighbour against the direction of its data.
  const int chunk = work.is_forward() ? work.chunk - 1 : work.chunk + 1;
  const Progress& feeder = progress[{chunk, work.micro_batch}];
  return work.is_forward() ? feeder.forward : feeder.backward_input;
}

// Checks one stage's order and completeness, and counts what it keeps.
absl::Status CheckStage(const PipelinePlace& place, const std::vector<Work>& work, int* max_in_flight,
                        std::set<std::pair<int, int>>* done) {
  const int stage = place.stage;
  ProgressOfStage progress;
  int num_backward = 0;
  for (const Work& w : work) num_backward += !w.is_forward();
  int in_flight = 0;
  *max_in_flight = 0;
  for (const Work& w : work) {
    if (!IsFed(w, place, progress))
      return Refuse(stage, w, "comes before the chunk of its stage that feeds it");
    Progress& p = progress[{w.chunk, w.micro_batch}];
    if (absl::Status status = Do(stage, w, p); !status.ok()) return status;
    if (num_backward > 0 && w.is_forward()) *max_in_flight = std::max(*max_in_flight, ++in_flight);
    if (!w.is_forward() && p.backward_weight) --in_flight;
  }
  for (const auto& [key, p] : progress) {
    done->insert(key);
    if (num_backward > 0 && !p.backward_weight) {
      return Refuse(stage, {Kind::kForward, key.first, key.second}, "has no complete backward");
    }
  }
  return absl::OkStatus();
}

// One direction between two stages.
struct Channel {
  struct Message {
    Work consumer;
    double time = 0;
  };
  std::vector<Message> sent;
  std::vector<Message> received;
};

class Simulator {
 public:
  Simulator(const std::vector<std::vector<PipelineEntry>>& stages, const PipelinePlace& place,
            const WorkCosts& costs)
      : lists_(stages), place_(place), costs_(costs), states_(stages.size()) {
    result_.timeline.resize(stages.size());
  }

  absl::Status Run();
  PipelineSimulation TakeResult() { return std::move(result_); }

 private:
  struct State {
    size_t next = 0;
    double clock = 0;
    // The number on its channel of each message, so that the waits find it.
    std::map<std::tuple<bool, int, int>, size_t> sent;
    std::map<std::tuple<bool, int, int>, size_t> received;
  };

  int num_stages() const { return static_cast<int>(lists_.size()); }
  PipelinePlace Place(int stage) const { return {stage, num_stages(), place_.num_chunks, place_.turns}; }
  static std::tuple<bool, int, int> Key(const Work& w) { return {w.is_forward(), w.chunk, w.micro_batch}; }

  // Whether the stage's next entry could be done.
  bool Step(int stage);
  bool WaitFor(const std::vector<Channel::Message>& other_side, size_t number, State& state);
  absl::Status CheckOrders() const;
  absl::Status Deadlock() const;

  const std::vector<std::vector<PipelineEntry>>& lists_;
  const PipelinePlace place_;  // of any stage
  const WorkCosts costs_;
  std::vector<State> states_;
  std::map<std::tuple<int, int, bool>, Channel> channels_;  // from, to, whether activations
  PipelineSimulation result_;
};

bool Simulator::WaitFor(const std::vector<Channel::Message>& other_side, size_t number, State& state) {
  if (number >= other_side.size()) return false;
  state.clock = std::max(state.clock, other_side[number].time);
  return true;
}

bool Simulator::Step(int stage) {
  State& state = states_[stage];
  if (state.next == lists_[stage].size()) return false;
  const PipelineEntry& entry = lists_[stage][state.next];
  const Work& work = entry.work;
  const bool is_send =
      entry.kind == PipelineEntry::Kind::kStartSend || entry.kind == PipelineEntry::Kind::kWaitSend;
  const int from = is_send ? stage : ReceivesFrom(work, Place(stage));
  const int to = is_send ? SendsTo(work, Place(stage)) : stage;
  Channel& channel = channels_[{from, to, work.is_forward()}];
  switch (entry.kind) {
    case PipelineEntry::Kind::kStartReceive:
      state.received[Key(work)] = channel.received.size();
      channel.received.push_back({work, state.clock});
      break;
    case PipelineEntry::Kind::kWaitReceive:
      if (!WaitFor(channel.sent, state.received[Key(work)], state)) return false;
      break;
    case PipelineEntry::Kind::kCompute: {
      const double begin = state.clock;
      state.clock += Cost(work, costs_);
      result_.timeline[stage].push_back({work, begin, state.clock});
      break;
    }
    case PipelineEntry::Kind::kStartSend:
      state.sent[Key(work)] = channel.sent.size();
      channel.sent.push_back({Consumer(work, Place(stage)), state.clock});
      break;
    case PipelineEntry::Kind::kWaitSend:
      if (!WaitFor(channel.received, state.sent[Key(work)], state)) return false;
      break;
  }
  ++state.next;
  return true;
}

absl::Status Simulator::CheckOrders() const {
  for (const auto& [key, channel] : channels_) {
    const auto [from, to, is_activation] = key;
    for (size_t i = 0; i < std::min(channel.sent.size(), channel.received.size()); ++i) {
      const Work& sent = channel.sent[i].consumer;
      const Work& received = channel.received[i].consumer;
      if (Key(sent) == Key(received)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("stage ", from, " sends what ", ToString(sent), " of stage ", to,
                       " needs where that stage receives for ", ToString(received)));
    }
  }
  return absl::OkStatus();
}

absl::Status Simulator::Deadlock() const {
  std::string report = "the schedule deadlocks:";
  for (int stage = 0; stage < num_stages(); ++stage) {
    const size_t next = states_[stage].next;
    absl::StrAppend(
        &report, stage == 0 ? " " : "; ", "stage ", stage,
        next == lists_[stage].size() ? " is done" : absl::StrCat(" at ", ToString(lists_[stage][next])));
  }
  return absl::InvalidArgumentError(report);
}

absl::Status Simulator::Run() {
  bool moved = true;
  while (moved) {
    moved = false;
    for (int stage = 0; stage < num_stages(); ++stage) {
      while (Step(stage)) moved = true;
    }
  }
  if (absl::Status status = CheckOrders(); !status.ok()) return status;
  double busy = 0;
  for (int stage = 0; stage < num_stages(); ++stage) {
    if (states_[stage].next < lists_[stage].size()) return Deadlock();
    for (const TimedWork& timed : result_.timeline[stage]) {
      busy += timed.end - timed.begin;
      result_.makespan = std::max(result_.makespan, timed.end);
    }
  }
  if (result_.makespan > 0) result_.bubble_fraction = 1 - busy / (num_stages() * result_.makespan);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PipelineSimulation> SimulateEntries(const std::vector<std::vector<PipelineEntry>>& stages,
                                                   const PipelinePlace& place, const WorkCosts& costs) {
  std::vector<int> max_in_flight(stages.size());
  std::set<std::pair<int, int>> expected;
  for (int stage = 0; stage < static_cast<int>(stages.size()); ++stage) {
    std::vector<Work> work;
    for (const PipelineEntry& entry : stages[stage]) {
      if (entry.kind == PipelineEntry::Kind::kCompute) work.push_back(entry.work);
    }
    std::set<std::pair<int, int>> done;
    PipelinePlace here = place;
    here.stage = stage;
    if (absl::Status status = CheckStage(here, work, &max_in_flight[stage], &done); !status.ok())
      return status;
    if (stage == 0) expected = done;
    if (done != expected) {
      return absl::InvalidArgumentError(absl::StrCat("stage ", stage, " does ", done.size(),
                                                     " (chunk, micro-batch) pairs, not the ", expected.size(),
                                                     " that stage 0 does"));
    }
  }
  Simulator simulator(stages, place, costs);
  if (absl::Status status = simulator.Run(); !status.ok()) return status;
  PipelineSimulation result = simulator.TakeResult();
  result.max_in_flight = std::move(max_in_flight);
  return result;
}

absl::StatusOr<PipelineSimulation> Simulate(const std::vector<std::vector<Work>>& stages,
                                            const WorkCosts& costs, bool turns) {
  PipelinePlace place = {0, static_cast<int>(stages.size()), 1, turns};
  for (const std::vector<Work>& stage : stages) {
    for (const Work& work : stage) place.num_chunks = std::max(place.num_chunks, work.chunk + 1);
  }
  std::vector<std::vector<PipelineEntry>> lists;
  for (const std::vector<Work>& stage : stages) {
    lists.push_back(WithMessages(stage, place));
    ++place.stage;
  }
  return SimulateEntries(lists, place, costs);
}

std::string Picture(const PipelineSimulation& simulation) {
  size_t width = 1;
  for (const auto& stage : simulation.timeline) {
    for (const TimedWork& timed : stage) width = std::max(width, ToString(timed.work).size() + 1);
  }
  const size_t columns = std::lround(simulation.makespan);
  std::string picture;
  for (size_t stage = 0; stage < simulation.timeline.size(); ++stage) {
    std::string line;
    for (size_t i = 0; i < columns; ++i) line += std::string(width - 1, '.') + " ";
    for (const TimedWork& timed : simulation.timeline[stage]) {
      const size_t begin = std::lround(timed.begin) * width, end = std::lround(timed.end) * width;
      std::string cell = ToString(timed.work);
      cell.resize(end - begin - 1, '-');
      line.replace(begin, cell.size(), cell);
    }
    line.resize(line.size() - (line.empty() ? 0 : 1));
    absl::StrAppend(&picture, "stage ", stage, " | ", line, "\n");
  }
  return picture;
}

}  // namespace trireme
