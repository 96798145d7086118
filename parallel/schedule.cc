#include "parallel/schedule.h"

#include <glog/logging.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

// Where a stage's chunk stands among all chunks of the model.
int Position(int chunk, const PipelinePlace& place) {
  return chunk * place.num_stages + place.stage;
}

// The position that `work` sends to (step 1) or receives from (step -1), in the direction of its data; -1 for
// none.
int NeighbourPosition(const Work& work, const PipelinePlace& place, int step) {
  if (work.kind == Work::Kind::kBackwardWeight) return -1;
  const int position = Position(work.chunk, place) + (work.is_forward() ? step : -step);
  return position < place.num_stages * place.num_chunks ? position : -1;
}

}  // namespace

std::string ToString(const Work& work) {
  const char* kLetters[] = {"F", "B", "I", "W"};
  std::string text = absl::StrCat(kLetters[static_cast<int>(work.kind)], work.micro_batch);
  if (work.chunk > 0) absl::StrAppend(&text, ".", work.chunk);
  return text;
}

const char* Name(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::kGPipe:
      return "gpipe";
    case ScheduleKind::k1F1B:
      return "1f1b";
    case ScheduleKind::kForwardOnly:
      return "forward_only";
  }
  return "?";
}

std::vector<Work> Schedule(ScheduleKind kind, int num_stages, int stage, int num_micro_batches) {
  CHECK(stage >= 0 && stage < num_stages && num_micro_batches >= 0)
      << "stage " << stage << " of " << num_stages << ", " << num_micro_batches << " micro-batches";
  // How many forwards are done before the first backward.
  const int ahead =
      kind == ScheduleKind::k1F1B ? std::min(num_micro_batches, num_stages - stage) : num_micro_batches;
  std::vector<Work> schedule;
  for (int i = 0; i < ahead; ++i) schedule.push_back({Work::Kind::kForward, 0, i});
  if (kind == ScheduleKind::kForwardOnly) return schedule;
  for (int i = 0; i < num_micro_batches; ++i) {
    schedule.push_back({Work::Kind::kBackward, 0, i});
    if (ahead + i < num_micro_batches) schedule.push_back({Work::Kind::kForward, 0, ahead + i});
  }
  return schedule;
}

int ReceivesFrom(const Work& work, const PipelinePlace& place) {
  const int position = NeighbourPosition(work, place, -1);
  return position < 0 ? -1 : position % place.num_stages;
}

int SendsTo(const Work& work, const PipelinePlace& place) {
  const int position = NeighbourPosition(work, place, 1);
  return position < 0 ? -1 : position % place.num_stages;
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
  CHECK(place.num_chunks == 1 || place.num_stages > 1) << "a single stage has no use for chunks";
  using Kind = PipelineEntry::Kind;
  std::vector<PipelineEntry> entries;
  const auto start_receive = [&](size_t i) {
    if (i < work.size() && ReceivesFrom(work[i], place) >= 0)
      entries.push_back({Kind::kStartReceive, work[i]});
  };
  std::optional<Work> last_sent[2];  // of gradients, of activations
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
    wait_for_send(last_sent[work[i].is_forward()]);
    entries.push_back({Kind::kStartSend, work[i]});
    last_sent[work[i].is_forward()] = work[i];
  }
  for (std::optional<Work>& sent : last_sent) wait_for_send(sent);
  return entries;
}

}  // namespace trireme
