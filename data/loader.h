// Samples by number. Sample g of a run is window Order(g mod W) of epoch g / W, where W is the number of
// windows; so the position in the data is one integer, and nothing depends on how many ranks share the work.
#ifndef TRIREME_DATA_LOADER_H_
#define TRIREME_DATA_LOADER_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/token_source.h"

namespace trireme {

enum class WindowOrder {
  kShuffled,    // each epoch another permutation of the windows, by seed
  kSequential,  // window after window, as validation wants it
};

struct LoaderOptions {
  int64_t sequence_length = 0;  // T, tokens
  uint64_t seed = 0;
  WindowOrder order = WindowOrder::kShuffled;
};

// Immutable and thread-safe.
class Loader {
 public:
  // InvalidArgument where the source holds no window of T + 1 tokens.
  static absl::StatusOr<Loader> Create(std::shared_ptr<const TokenSource> source,
                                       const LoaderOptions& options);

  const TokenSource& source() const { return *source_; }
  int64_t sequence_length() const { return options_.sequence_length; }
  int64_t num_windows() const { return num_windows_; }

  // The window of sample g >= 0.
  int64_t WindowOf(int64_t sample) const;

  // Samples [first_sample, first_sample + count), over the borders of epochs.
  //   inputs  [count, T]
  //   labels  [count, T]  inputs one token further
  // DataLoss names the damaged shard and byte.
  absl::Status Read(int64_t first_sample, int64_t count, int32_t* inputs, int32_t* labels) const;

 private:
  Loader(std::shared_ptr<const TokenSource> source, const LoaderOptions& options);

  std::shared_ptr<const TokenSource> source_;
  LoaderOptions options_;
  int64_t num_windows_;
};

// Samples [first_sample, first_sample + count).
struct SampleRange {
  int64_t first_sample = 0;
  int64_t count = 0;
};

// Who reads what: a step takes num_replicas x num_micro_batches x micro_batch samples; micro-batch after
// micro-batch, and within one replica after replica.
struct SampleShare {
  int64_t replica = 0;  // d in [0, num_replicas)
  int64_t num_replicas = 1;
  int64_t num_micro_batches = 1;  // a step
  int64_t micro_batch = 1;        // b, samples

  int64_t global_batch() const { return num_replicas * num_micro_batches * micro_batch; }
  // Samples of this replica's micro-batch m of a step that begins at sample `position`.
  SampleRange MicroBatch(int64_t position, int64_t m) const {
    return {position + (m * num_replicas + replica) * micro_batch, micro_batch};
  }
};

}  // namespace trireme

#endif  // TRIREME_DATA_LOADER_H_
