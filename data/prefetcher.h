// Reads a rank's micro-batches ahead of their use, on a thread of its own.
#ifndef TRIREME_DATA_PREFETCHER_H_
#define TRIREME_DATA_PREFETCHER_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "data/loader.h"

namespace trireme {

// One micro-batch of one replica.
struct TokenBatch {
  int64_t first_sample = 0;
  int64_t count = 0;
  std::vector<int32_t> inputs;      // [count, T]
  std::vector<int32_t> labels;      // [count, T], inputs one token further
  std::vector<int64_t> sample_ids;  // [count], numbers of the samples in the whole run
};

// Which samples the n-th micro-batch of this rank has; a count of 0 is the end. Called from another thread,
// so it must be a pure function of n.
using SamplePlan = std::function<SampleRange(int64_t n)>;

// The plan of training: micro-batch n is micro-batch n mod M of the step that begins at sample
// `position` + n / M x global batch.
SamplePlan TrainingPlan(const SampleShare& share, int64_t position);

// Next() and Seek() belong to one thread. Memory is bounded by `depth` + 2 batches and reused.
class Prefetcher {
 public:
  // Starts to read micro-batch 0 of the plan. `depth` > 0 batches are kept ready.
  Prefetcher(Loader loader, SamplePlan plan, int depth);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // Gives the next micro-batch in `batch`, whose buffers it takes over for later ones. Waits for the disk
  // only where reading is slower than use. OutOfRange at the plan's end; otherwise what Loader::Read said,
  // until a Seek().
  absl::Status Next(TokenBatch* batch);

  // Continues with micro-batch `n` of the plan.
  void Seek(int64_t n);

 private:
  struct Slot {
    absl::Status status;
    TokenBatch batch;
  };

  void Run();
  Slot Fill(int64_t n, TokenBatch batch) const;

  const Loader loader_;
  const SamplePlan plan_;
  const int64_t depth_;

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::vector<Slot> ready_;         // a ring: micro-batch n lies at n mod depth
  std::vector<TokenBatch> spares_;  // buffers to use again
  int64_t next_read_ = 0;           // micro-batches below it are read
  int64_t next_use_ = 0;            // micro-batches below it were given out
  int64_t generation_ = 0;          // counts Seek(), so that a batch of before is dropped
  bool failed_ = false;             // the last batch read has an error; nothing is read behind it
  bool stop_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace trireme

#endif  // TRIREME_DATA_PREFETCHER_H_
