// Opening a checkpoint: from the run's or its own directory to tensors and state.
#ifndef TRIREME_CHECKPOINT_READER_H_
#define TRIREME_CHECKPOINT_READER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "checkpoint/commit_record.h"
#include "checkpoint/state.h"
#include "checkpoint/storage.h"
#include "checkpoint/tensor_reader.h"

namespace trireme {

class CheckpointReader {
 public:
  // `path` is a checkpoint's directory, or a run's, whose newest complete checkpoint it stands for
  // (run_directory.h). Verifies COMMIT, the manifest's SHA-256, the manifest, and every file's size; no
  // tensor data is read. Errors name file and byte; NotFound: nothing at `path` is a checkpoint. `storage`
  // must outlive the reader.
  static absl::StatusOr<std::unique_ptr<CheckpointReader>> Open(const std::string& path, Storage& storage);

  const std::string& directory() const { return directory_; }
  const CommitRecord& record() const { return record_; }
  const CheckpointState& state() const { return state_; }
  TensorReader& tensors() { return tensors_; }
  const TensorReader& tensors() const { return tensors_; }

 private:
  CheckpointReader(std::string directory, CommitRecord record, CheckpointState state, TensorReader tensors)
      : directory_(std::move(directory)),
        record_(std::move(record)),
        state_(std::move(state)),
        tensors_(std::move(tensors)) {}
  static absl::StatusOr<std::unique_ptr<CheckpointReader>> OpenDirectory(const std::string& directory,
                                                                         Storage& storage);

  std::string directory_;
  CommitRecord record_;
  CheckpointState state_;
  TensorReader tensors_;
};

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_READER_H_
