#include "parallel/schedule.h"

#include <glog/logging.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

// The position that `work` sends to (step 1) or receives from (step -1), in the direction of its data; -1 for
// none.
int NeighbourPosition(const Work& work, const PipelinePlace& place, int step) {
  if (work.kind == Work::Kind::kBackwardWeight) return -1;
  const int position = place.PositionOf(work.chunk) + (work.is_forward() ? step : -step);
  return position < place.num_positions() ? position : -1;
}

int NeighbourStage(const Work& work, const PipelinePlace& place, int step) {
  const int position = NeighbourPosition(work, place, step);
  if (position < 0 || place.StageAt(position) == place.stage) return -1;
  return place.StageAt(position);
}

bool NeighbourIsOfSameStage(const Work& work, const PipelinePlace& place, int step) {
  const int position = NeighbourPosition(work, place, step);
  return position >= 0 && place.StageAt(position) == place.stage;
}

}  // namespace

std::string ToString(const Work& work) {
  const char* kLetters[] = {"F", "B", "I", "W"};
  std::string text = absl::StrCat(kLetters[static_cast<int>(work.kind)], work.micro_batch);
  if (work.chunk > 0) absl::StrAppend(&text, ".", work.chunk);
  return text;
}

const char* Name(ScheduleKind kind) {
  constexpr const char* kNames[] = {"1f1b", "gpipe", "interleaved", "zb-h1", "zb-v"};
  return kNames[static_cast<int>(kind)];
}

ScheduleKind ScheduleNamed(const std::string& name) {
  for (ScheduleKind kind : kAllSchedules) {
    if (name == Name(kind)) return kind;
  }
  LOG(FATAL) << "no schedule " << name;
}

bool SplitsBackward(ScheduleKind kind) {
  return kind == ScheduleKind::kZeroBubbleH1 || kind == ScheduleKind::kZeroBubbleV;
}

int PipelinePlace::PositionOf(int chunk) const {
  return chunk * num_stages + (IsTurned(chunk) ? num_stages - 1 - stage : stage);
}

int PipelinePlace::StageAt(int position) const {
  const int along = position % num_stages;
  return IsTurned(position / num_stages) ? num_stages - 1 - along : along;
}

PipelinePlace PlaceIn(ScheduleKind kind, int num_stages, int stage, int virtual_stages) {
  const bool turns = kind == ScheduleKind::kZeroBubbleV;
  const int num_chunks = turns ? 2 : kind == ScheduleKind::kInterleaved ? virtual_stages : 1;
  return {stage, num_stages, num_chunks, turns};
}

std::vector<std::vector<Work>> ScheduleOfAllStages(ScheduleKind kind, int num_stages, int virtual_stages,
                                                   int num_micro_batches) {
  std::vector<std::vector<Work>> stages;
  for (int stage = 0; stage < num_stages; ++stage) {
    stages.push_back(Schedule(kind, PlaceIn(kind, num_stages, stage, virtual_stages), num_micro_batches));
  }
  return stages;
}

std::vector<Work> ForwardsOf(std::vector<Work> schedule) {
  std::erase_if(schedule, [](const Work& work) { return !work.is_forward(); });
  return schedule;
}

int ReceivesFrom(const Work& work, const PipelinePlace& place) {
  return NeighbourStage(work, place, -1);
}

int SendsTo(const Work& work, const PipelinePlace& place) {
  return NeighbourStage(work, place, 1);
}

bool TakesFromSameStage(const Work& work, const PipelinePlace& place) {
  return NeighbourIsOfSameStage(work, place, -1);
}

bool GivesToSameStage(const Work& work, const PipelinePlace& place) {
  return NeighbourIsOfSameStage(work, place, 1);
}

Work Consumer(const Work& work, const PipelinePlace& place) {
  const int position = NeighbourPosition(work, place, 1);
  CHECK_GE(position, 0) << ToString(work) << " of stage " << place.stage << " sends nothing";
  return {work.is_forward() ? Work::Kind::kForward : Work::Kind::kBackward, position / place.num_stages,
          work.micro_batch};
}

std::string ToString(const PipelineEntry& entry) {
  const char* kNames[] = {"start_receive", "wait_receive", "compute", "start_send", "wait_send"};
  return absl::StrCat(kNames[static_cast<int>(entry.kind)], " ", ToString(entry.work));
}

std::vector<PipelineEntry> WithMessages(const std::vector<Work>& work, const PipelinePlace& place) {
  using Kind = PipelineEntry::Kind;
  std::vector<PipelineEntry> entries;
  const auto start_receive = [&](size_t i) {
    if (i < work.size() && ReceivesFrom(work[i], place) >= 0)
      entries.push_back({Kind::kStartReceive, work[i]});
  };
  std::optional<Work> last_sent[2][2];  // by whether activations, and whether of a turned chunk
  const auto wait_for_send = [&](std::optional<Work>& sent) {
    if (sent.has_value()) entries.push_back({Kind::kWaitSend, *sent});
    sent.reset();
  };
  start_receive(0);
  for (size_t i = 0; i < work.size(); ++i) {
    start_receive(i + 1);
    if (ReceivesFrom(work[i], place) >= 0) entries.push_back({Kind::kWaitReceive, work[i]});
    entries.push_back({Kind::kCompute, work[i]});
    if (SendsTo(work[i], place) < 0) continue;
    std::optional<Work>& last = last_sent[work[i].is_forward()][place.IsTurned(work[i].chunk)];
    wait_for_send(last);
    entries.push_back({Kind::kStartSend, work[i]});
    last = work[i];
  }
  for (auto& of_kind : last_sent) {
    for (std::optional<Work>& sent : of_kind) wait_for_send(sent);
  }
  return entries;
}

}  // namespace trireme
