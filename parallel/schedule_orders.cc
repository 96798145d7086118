// The orders of all schedules: what each stage computes after what.
#include <glog/logging.h>

#include <algorithm>
#include <deque>

#include "parallel/schedule.h"

namespace trireme {
namespace {

using Kind = Work::Kind;

// `ahead` forwards are done before the first backward.
std::vector<Work> Alternating(int ahead, int num_micro_batches) {
  std::vector<Work> schedule;
  for (int i = 0; i < ahead; ++i) schedule.push_back({Kind::kForward, 0, i});
  for (int i = 0; i < num_micro_batches; ++i) {
    schedule.push_back({Kind::kBackward, 0, i});
    if (ahead + i < num_micro_batches) schedule.push_back({Kind::kForward, 0, ahead + i});
  }
  return schedule;
}

// The k-th forward, or backward, of any stage in groups of num_stages micro-batches: a group passes chunk
// after chunk, forward from the first chunk on, backward from the last.
Work InGroups(Kind kind, int k, int num_stages, int num_chunks) {
  const int of_group = k % (num_stages * num_chunks);
  const int chunk = of_group / num_stages;
  return {kind, kind == Kind::kForward ? chunk : num_chunks - 1 - chunk,
          k / (num_stages * num_chunks) * num_stages + of_group % num_stages};
}

std::vector<Work> Interleaved(const PipelinePlace& place, int num_micro_batches) {
  const int p = place.num_stages, num_chunks = place.num_chunks;
  // The published order knows full groups only. What is left of a schedule that cannot deadlock, once some
  // micro-batches are taken out on all stages, cannot deadlock either: nothing waits for more than before.
  const int total = (num_micro_batches + p - 1) / p * p * num_chunks;
  const int ahead = std::min(total, 2 * (p - 1 - place.stage) + (num_chunks - 1) * p);
  std::vector<Work> schedule;
  const auto add = [&](Kind kind, int k) {
    const Work work = InGroups(kind, k, p, num_chunks);
    if (work.micro_batch < num_micro_batches) schedule.push_back(work);
  };
  for (int k = 0; k < ahead; ++k) add(Kind::kForward, k);
  for (int k = 0; k < total; ++k) {
    if (ahead + k < total) add(Kind::kForward, ahead + k);
    add(Kind::kBackward, k);
  }
  return schedule;
}

std::vector<Work> ZeroBubbleH1(const PipelinePlace& place, int num_micro_batches) {
  const int m = num_micro_batches, stage = place.stage;
  std::vector<Work> schedule;
  for (const Work& work : Schedule(ScheduleKind::k1F1B, place, m)) {
    if (work.is_forward()) {
      schedule.push_back(work);
      continue;
    }
    // 1F1B keeps `stage` micro-batches fewer here than on stage 0: so many may wait for their weights' part.
    const int i = work.micro_batch;
    schedule.push_back({Kind::kBackwardInput, 0, i});
    if (i >= stage) schedule.push_back({Kind::kBackwardWeight, 0, i - stage});
  }
  for (int i = std::max(0, m - stage); i < m; ++i) schedule.push_back({Kind::kBackwardWeight, 0, i});
  return schedule;
}

// Builds ZB-V's order of all stages at once by running them, every piece of work taking one unit of time.
class ZeroBubbleV {
 public:
  ZeroBubbleV(int num_stages, int num_micro_batches)
      : num_stages_(num_stages), num_micro_batches_(num_micro_batches), stages_(num_stages) {
    for (int s = 0; s < num_stages; ++s)
      stages_[s].place = PlaceIn(ScheduleKind::kZeroBubbleV, num_stages, s, 2);
    forwards_.resize(2 * num_stages, 0);
    backwards_.resize(2 * num_stages, 0);
  }

  std::vector<Work> Run(int stage) {
    const size_t all = size_t{6} * num_micro_batches_;
    while (stages_[stage].schedule.size() < all) Advance();
    return std::move(stages_[stage].schedule);
  }

 private:
  struct Stage {
    PipelinePlace place;
    std::vector<Work> schedule;
    std::deque<Work> weights;  // in the order in which their backward_input was done
    int in_flight = 0;
  };

  // One unit of time.
  void Advance() {
    const std::vector<int> forwards = forwards_, backwards = backwards_;
    for (Stage& stage : stages_) Choose(stage, forwards, backwards);
  }

  // What the pipeline waits for comes first: backward_input, then forwards of the second chunk, then of the
  // first, as far ahead as the way to the end and back is long, leaving room for the second chunk.
  void Choose(Stage& stage, const std::vector<int>& forwards, const std::vector<int>& backwards) {
    const int most_in_flight = 2 * num_stages_;
    const int position[2] = {stage.place.PositionOf(0), stage.place.PositionOf(1)};
    const auto has_input = [&](int chunk) {
      const int at = position[chunk], done = forwards[at];
      return done < num_micro_batches_ && (at == 0 || forwards[at - 1] > done);
    };
    const auto has_gradient = [&](int chunk) {
      const int at = position[chunk], done = backwards[at];
      return done < forwards[at] && (at + 1 == 2 * num_stages_ || backwards[at + 1] > done);
    };
    for (int chunk : {0, 1}) {
      if (!has_gradient(chunk)) continue;
      stage.schedule.push_back({Kind::kBackwardInput, chunk, backwards_[position[chunk]]++});
      stage.weights.push_back(stage.schedule.back());
      return;
    }
    const int ahead = forwards[position[0]] - forwards[position[1]];
    const bool forward1 = has_input(1) && stage.in_flight < most_in_flight;
    const bool forward0 = has_input(0) && stage.in_flight + 1 < most_in_flight &&
                          ahead < 2 * (num_stages_ - stage.place.stage) - 1;
    if (forward1 || forward0) {
      const int chunk = forward1 ? 1 : 0;
      stage.schedule.push_back({Kind::kForward, chunk, forwards_[position[chunk]]++});
      ++stage.in_flight;
    } else if (!stage.weights.empty()) {
      const Work& done = stage.weights.front();
      stage.schedule.push_back({Kind::kBackwardWeight, done.chunk, done.micro_batch});
      stage.weights.pop_front();
      --stage.in_flight;
    }
  }

  const int num_stages_;
  const int num_micro_batches_;
  std::vector<Stage> stages_;
  std::vector<int> forwards_;   // done, by position
  std::vector<int> backwards_;  // done, by position
};

}  // namespace

std::vector<Work> Schedule(ScheduleKind kind, const PipelinePlace& place, int num_micro_batches) {
  CHECK(place.stage >= 0 && place.stage < place.num_stages && place.num_chunks > 0 && num_micro_batches >= 0)
      << "stage " << place.stage << " of " << place.num_stages << ", " << place.num_chunks << " chunks, "
      << num_micro_batches << " micro-batches";
  switch (kind) {
    case ScheduleKind::k1F1B:
      return Alternating(std::min(num_micro_batches, place.num_stages - place.stage), num_micro_batches);
    case ScheduleKind::kGPipe:
      return Alternating(num_micro_batches, num_micro_batches);
    case ScheduleKind::kInterleaved:
      return Interleaved(place, num_micro_batches);
    case ScheduleKind::kZeroBubbleH1:
      return ZeroBubbleH1(place, num_micro_batches);
    case ScheduleKind::kZeroBubbleV:
      return ZeroBubbleV(place.num_stages, num_micro_batches).Run(place.stage);
  }
  LOG(FATAL) << "no schedule " << static_cast<int>(kind);
}

}  // namespace trireme
