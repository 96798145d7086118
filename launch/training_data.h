// The batches of a run: a rank's share of the training order, read ahead, and the validation set in order.
#ifndef TRIREME_LAUNCH_TRAINING_DATA_H_
#define TRIREME_LAUNCH_TRAINING_DATA_H_

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/config.pb.h"
#include "data/entropy.h"
#include "data/prefetcher.h"
#include "launch/rank_plan.h"
#include "launch/trainer.h"

namespace trireme {

class TrainingData {
 public:
  // Opens the training source (and the validation source, if there is one) and checks that they fit the
  // model: ids below vocab_size. Errors name the file or the field.
  static absl::StatusOr<TrainingData> Open(const Config& config);

  // From now on Next() gives this rank's micro-batches, beginning with sample `position` of the run.
  void Start(const BatchGeometry& batch, int64_t position);
  // The next micro-batch of this rank; in the order of the schedule, which takes micro-batches by ascending
  // number.
  absl::StatusOr<Samples> Next();

  bool has_validation() const { return validation_.has_value(); }
  int64_t num_validation_samples() const { return validation_->num_windows(); }
  // Micro-batch m of evaluation batch n; samples behind the end have labels -1, which count nothing.
  absl::StatusOr<Samples> ReadValidation(const BatchGeometry& batch, int64_t n, int m);
  // Bytes of text that the labels of the first `samples` validation samples stand for.
  absl::StatusOr<int64_t> ValidationBytes(int64_t samples) const;

  const TokenSource& source() const { return training_->source(); }

 private:
  TrainingData() = default;

  std::optional<Loader> training_;
  std::optional<Loader> validation_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<Prefetcher> prefetcher_;
  TokenBatch batch_;
};

}  // namespace trireme

#endif  // TRIREME_LAUNCH_TRAINING_DATA_H_
