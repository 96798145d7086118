// Schedules that give a stage several chunks, or split its backward.
#include <glog/logging.h>

#include <algorithm>

#include "parallel/schedule.h"

namespace trireme {
namespace {

// The k-th forward, or backward, of any stage in groups of num_stages micro-batches: a group passes chunk
// after chunk, forward from the first chunk on, backward from the last.
Work InGroups(Work::Kind kind, int k, int num_stages, int num_chunks) {
  const int of_group = k % (num_stages * num_chunks);
  const int chunk = of_group / num_stages;
  return {kind, kind == Work::Kind::kForward ? chunk : num_chunks - 1 - chunk,
          k / (num_stages * num_chunks) * num_stages + of_group % num_stages};
}

}  // namespace

std::vector<Work> InterleavedSchedule(const PipelinePlace& place, int num_micro_batches) {
  const int stage = place.stage, p = place.num_stages, num_chunks = place.num_chunks;
  CHECK(p > 1 && num_chunks > 1 && stage >= 0 && stage < p && num_micro_batches >= 0)
      << "stage " << stage << " of " << p << ", " << num_chunks << " chunks, " << num_micro_batches
      << " micro-batches";
  // The published order knows full groups only. What is left of a schedule that cannot deadlock, once some
  // micro-batches are taken out on all stages, cannot deadlock either: nothing waits for more than before.
  const int total = (num_micro_batches + p - 1) / p * p * num_chunks;
  const int ahead = std::min(total, 2 * (p - 1 - stage) + (num_chunks - 1) * p);
  std::vector<Work> schedule;
  const auto add = [&](Work::Kind kind, int k) {
    const Work work = InGroups(kind, k, p, num_chunks);
    if (work.micro_batch < num_micro_batches) schedule.push_back(work);
  };
  for (int k = 0; k < ahead; ++k) add(Work::Kind::kForward, k);
  for (int k = 0; k < total; ++k) {
    if (ahead + k < total) add(Work::Kind::kForward, ahead + k);
    add(Work::Kind::kBackward, k);
  }
  return schedule;
}

std::vector<Work> ZeroBubbleH1Schedule(int num_stages, int stage, int num_micro_batches) {
  const int m = num_micro_batches;
  std::vector<Work> schedule;
  for (const Work& work : Schedule(ScheduleKind::k1F1B, num_stages, stage, m)) {
    if (work.is_forward()) {
      schedule.push_back(work);
      continue;
    }
    // 1F1B keeps `stage` micro-batches fewer here than on stage 0: so many may wait for their weights' part.
    const int i = work.micro_batch;
    schedule.push_back({Work::Kind::kBackwardInput, 0, i});
    if (i >= stage) schedule.push_back({Work::Kind::kBackwardWeight, 0, i - stage});
  }
  for (int i = std::max(0, m - stage); i < m; ++i) schedule.push_back({Work::Kind::kBackwardWeight, 0, i});
  return schedule;
}

}  // namespace trireme
