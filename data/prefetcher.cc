#include "data/prefetcher.h"

#include <glog/logging.h>

#include <numeric>
#include <utility>

namespace trireme {

SamplePlan TrainingPlan(const SampleShare& share, int64_t position) {
  CHECK(share.replica >= 0 && share.replica < share.num_replicas)
      << share.replica << " of " << share.num_replicas;
  CHECK(share.num_micro_batches > 0 && share.micro_batch > 0);
  return [share, position](int64_t n) {
    const int64_t step = n / share.num_micro_batches;
    return share.MicroBatch(position + step * share.global_batch(), n % share.num_micro_batches);
  };
}

Prefetcher::Prefetcher(Loader loader, SamplePlan plan, int depth)
    : loader_(std::move(loader)), plan_(std::move(plan)), depth_(depth), ready_(depth) {
  CHECK_GT(depth, 0);
  thread_ = std::thread([this] { Run(); });
}

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Prefetcher::Slot Prefetcher::Fill(int64_t n, TokenBatch batch) const {
  const SampleRange range = plan_(n);
  if (range.count == 0)
    return {absl::OutOfRangeError("the plan has no further micro-batch"), std::move(batch)};
  batch.first_sample = range.first_sample;
  batch.count = range.count;
  batch.inputs.resize(range.count * loader_.sequence_length());
  batch.labels.resize(range.count * loader_.sequence_length());
  batch.sample_ids.resize(range.count);
  std::iota(batch.sample_ids.begin(), batch.sample_ids.end(), range.first_sample);
  absl::Status status =
      loader_.Read(range.first_sample, range.count, batch.inputs.data(), batch.labels.data());
  return {std::move(status), std::move(batch)};
}

void Prefetcher::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || (!failed_ && next_read_ < next_use_ + depth_); });
    if (stop_) return;
    const int64_t n = next_read_;
    const int64_t generation = generation_;
    TokenBatch batch;
    if (!spares_.empty()) {
      batch = std::move(spares_.back());
      spares_.pop_back();
    }
    lock.unlock();
    Slot slot = Fill(n, std::move(batch));
    lock.lock();
    if (generation != generation_) {
      spares_.push_back(std::move(slot.batch));
      continue;
    }
    failed_ = !slot.status.ok();
    ready_[n % depth_] = std::move(slot);
    next_read_ = n + 1;
    changed_.notify_all();
  }
}

absl::Status Prefetcher::Next(TokenBatch* batch) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return next_read_ > next_use_; });
  Slot& slot = ready_[next_use_ % depth_];
  // The place of an error is not left, so every further call gives it again.
  if (!slot.status.ok()) return slot.status;
  std::swap(*batch, slot.batch);
  spares_.push_back(std::move(slot.batch));
  slot.batch = TokenBatch();
  ++next_use_;
  changed_.notify_all();
  return absl::OkStatus();
}

void Prefetcher::Seek(int64_t n) {
  CHECK_GE(n, 0);
  const std::lock_guard<std::mutex> lock(mutex_);
  ++generation_;
  for (; next_use_ < next_read_; ++next_use_) {
    spares_.push_back(std::exchange(ready_[next_use_ % depth_].batch, TokenBatch()));
  }
  next_use_ = n;
  next_read_ = n;
  failed_ = false;
  changed_.notify_all();
}

}  // namespace trireme
