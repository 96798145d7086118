#include "launch/training_data.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

absl::StatusOr<Loader> OpenLoader(const Config& config, const SourceWithTokenizer& opened, const char* field,
                                  WindowOrder order) {
  const int64_t vocabulary = opened.tokenizer->vocab_size();
  if (vocabulary > config.model().vocab_size()) {
    return absl::InvalidArgumentError(absl::StrCat("model.vocab_size: ", config.model().vocab_size(), ": ",
                                                   field, " ", opened.source->directory(), " has ids up to ",
                                                   vocabulary - 1, "; set it to at least ", vocabulary));
  }
  return Loader::Create(opened.source, {.sequence_length = config.train().sequence_length(),
                                        .seed = static_cast<uint64_t>(config.train().seed()),
                                        .order = order});
}

}  // namespace

absl::StatusOr<TrainingData> TrainingData::Open(const Config& config) {
  TrainingData data;
  absl::StatusOr<SourceWithTokenizer> training = OpenWithTokenizer(config.data().path());
  if (!training.ok()) return training.status();
  absl::StatusOr<Loader> loader = OpenLoader(config, *training, "data.path", WindowOrder::kShuffled);
  if (!loader.ok()) return loader.status();
  data.training_.emplace(*std::move(loader));
  if (config.data().validation_path().empty()) return data;
  absl::StatusOr<SourceWithTokenizer> validation = OpenWithTokenizer(config.data().validation_path());
  if (!validation.ok()) return validation.status();
  if (validation->tokenizer->digest() != training->tokenizer->digest()) {
    return absl::InvalidArgumentError(absl::StrCat("data.validation_path: ", config.data().validation_path(),
                                                   ": has another tokenizer than data.path ",
                                                   config.data().path(), "; prepare both with one"));
  }
  loader = OpenLoader(config, *validation, "data.validation_path", WindowOrder::kSequential);
  if (!loader.ok()) return loader.status();
  data.validation_.emplace(*std::move(loader));
  data.tokenizer_ = validation->tokenizer;
  return data;
}

void TrainingData::Start(const BatchGeometry& batch, int64_t position) {
  constexpr int kMicroBatchesAhead = 4;
  const SampleShare share = {.replica = batch.replica,
                             .num_replicas = batch.num_replicas,
                             .num_micro_batches = batch.num_micro_batches,
                             .micro_batch = batch.micro_batch};
  prefetcher_ = std::make_unique<Prefetcher>(*training_, TrainingPlan(share, position), kMicroBatchesAhead);
}

absl::StatusOr<Samples> TrainingData::Next() {
  const absl::Status status = prefetcher_->Next(&batch_);
  if (!status.ok()) return status;
  return Samples{batch_.inputs.data(), batch_.labels.data(), batch_.sample_ids.data()};
}

absl::StatusOr<Samples> TrainingData::ReadValidation(const BatchGeometry& batch, int64_t n, int m) {
  const int64_t first = n * batch.global_batch + batch.FirstSample(m);
  const int64_t available = std::clamp<int64_t>(validation_->num_windows() - first, 0, batch.micro_batch);
  const int64_t tokens = batch.micro_batch * batch.sequence_length;
  batch_.inputs.assign(tokens, 0);
  batch_.labels.assign(tokens, -1);
  batch_.sample_ids.assign(batch.micro_batch, 0);
  if (available > 0) {
    const absl::Status status =
        validation_->Read(first, available, batch_.inputs.data(), batch_.labels.data());
    if (!status.ok()) return status;
  }
  return Samples{batch_.inputs.data(), batch_.labels.data(), batch_.sample_ids.data()};
}

absl::StatusOr<int64_t> TrainingData::ValidationBytes(int64_t samples) const {
  return CountBytes(validation_->source(), *tokenizer_, 1, samples * validation_->sequence_length());
}

}  // namespace trireme
