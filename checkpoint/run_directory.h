// The checkpoints of a run directory: which are complete, and which of them is the newest.
#ifndef TRIREME_CHECKPOINT_RUN_DIRECTORY_H_
#define TRIREME_CHECKPOINT_RUN_DIRECTORY_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/commit_record.h"
#include "checkpoint/storage.h"
#include "runtime/communicator.h"

namespace trireme {

// Reads COMMIT or LATEST. NotFound where there is none; DataLoss where it is damaged.
absl::StatusOr<CommitRecord> ReadRecord(RecordKind kind, const std::string& path, Storage& storage);

// RUN/checkpoints.
std::string CheckpointsDirectory(const std::string& run_directory);

struct RunCheckpoints {
  std::vector<CommitRecord> complete;  // oldest first, by sequence
  std::optional<CommitRecord> latest;  // what LATEST names, if there is one
  std::vector<std::string>
      ignored;  // in words: attempts that were never committed, or whose COMMIT is damaged
};

// Reads names, COMMITs and LATEST; an absent directory is an empty one. DataLoss, with the remedy, where
// LATEST is damaged or names what is not there, is not complete, or is another checkpoint than the one that
// was committed.
absl::StatusOr<RunCheckpoints> ListCheckpoints(const std::string& run_directory, Storage& storage);

// The newest complete checkpoint: the one of the highest sequence, which is LATEST's unless the run died
// between COMMIT and LATEST. None in a run that has not saved. What was ignored is logged as a warning.
absl::StatusOr<std::optional<CommitRecord>> FindLatest(const std::string& run_directory, Storage& storage);

// Collective: rank 0 finds, every rank gets the same answer or the same error.
absl::StatusOr<std::optional<CommitRecord>> FindLatestTogether(const std::string& run_directory,
                                                               Communicator& world, Storage& storage);

// Makes room once `newest` is durable: deletes the oldest complete checkpoints, so that `keep` with the
// newest stay; 0 keeps all. Never deletes what LATEST names, what is newer than `newest`, or an attempt that
// was not committed. Each one's COMMIT goes first, so that dying half-way leaves no half checkpoint. Also
// deletes leftovers of interrupted writes of LATEST. Returns the names of what it deleted.
absl::StatusOr<std::vector<std::string>> DeleteOldCheckpoints(const std::string& run_directory,
                                                              const CommitRecord& newest, int keep,
                                                              Storage& storage);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_RUN_DIRECTORY_H_
