// Rank 0's part of a save: the writers' reports become one manifest.
#ifndef TRIREME_CHECKPOINT_MANIFEST_MERGE_H_
#define TRIREME_CHECKPOINT_MANIFEST_MERGE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/manifest.pb.h"
#include "checkpoint/state.h"

namespace trireme {

// `reports` are serialised WriterReports, by rank. Internal where the ranks contradict each other about a
// tensor or an alias, or where their slices do not make every element of every tensor exactly once.
absl::StatusOr<manifest::Manifest> MergeReports(const std::vector<std::string>& reports,
                                                const CheckpointState& state, uint64_t sequence);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_MANIFEST_MERGE_H_
