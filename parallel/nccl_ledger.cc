#include "parallel/nccl_ledger.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace trireme {

uint64_t CollectiveLedger::Start(const char* name, int64_t count, DType dtype, double now_seconds) {
  if (last_started_ == last_done_) last_change_ = now_seconds;
  ++last_started_;
  entries_[last_started_ % kKept] = {name, count, dtype, now_seconds};
  return last_started_;
}

void CollectiveLedger::Done(uint64_t sequence, double now_seconds) {
  if (sequence <= last_done_) return;
  last_done_ = sequence;
  last_change_ = now_seconds;
}

double CollectiveLedger::StalledSeconds(double now_seconds) const {
  return last_started_ == last_done_ ? 0 : now_seconds - last_change_;
}

std::string CollectiveLedger::Report(double now_seconds) const {
  std::string text;
  const uint64_t kept_from = last_started_ >= kKept ? last_started_ - kKept + 1 : 1;
  for (uint64_t i = std::max(kept_from, last_done_ + 1); i <= last_started_; ++i) {
    const Entry& entry = entries_[i % kKept];
    absl::StrAppendFormat(&text, "operation %d of %d: %s of %d %s, started %.0f s ago\n", i, last_started_,
                          entry.name, entry.count, Name(entry.dtype), now_seconds - entry.started);
  }
  return text;
}

}  // namespace trireme
