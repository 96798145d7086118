#include "parallel/thread_hub.h"

#include <glog/logging.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace trireme {

void ThreadHub::Wait(int rank, const Operation& operation) {
  std::unique_lock lock(mutex_);
  if (operation.done) return;
  Rank& self = ranks_[rank];
  self.waits_for = &operation;
  AbortIfNoRankCanGoOn();
  if (!self.wake.wait_for(lock, timeout_, [&] { return operation.done; })) {
    LOG(FATAL) << "rank " << rank << " has waited " << timeout_.count() << " ms for " << operation.Describe()
               << Report();
  }
  self.waits_for = nullptr;
}

void ThreadHub::Complete(Operation& operation) {
  operation.done = true;
  for (Rank& rank : ranks_) {
    if (rank.waits_for == &operation) rank.wake.notify_one();
  }
}

void ThreadHub::Leave(int rank) {
  std::lock_guard lock(mutex_);
  ranks_[rank].has_left = true;
  AbortIfNoRankCanGoOn();
}

void ThreadHub::AbortIfNoRankCanGoOn() const {
  const auto waits = [](const Rank& rank) { return rank.waits_for != nullptr && !rank.waits_for->done; };
  const bool one_waits = std::any_of(ranks_.begin(), ranks_.end(), waits);
  const bool one_works =
      std::any_of(ranks_.begin(), ranks_.end(), [&](const Rank& r) { return !r.has_left && !waits(r); });
  if (one_waits && !one_works) LOG(FATAL) << "deadlock: no rank can go on" << Report();
}

std::string ThreadHub::Report() const {
  std::string report;
  for (int i = 0; i < static_cast<int>(ranks_.size()); ++i) {
    const Rank& rank = ranks_[i];
    absl::StrAppend(&report, "\n  rank ", i, ": ",
                    rank.has_left               ? "has returned"
                    : rank.waits_for == nullptr ? "works"
                                                : absl::StrCat("waits for ", rank.waits_for->Describe()));
  }
  return report;
}

}  // namespace trireme
