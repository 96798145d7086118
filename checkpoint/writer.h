// Saving: every rank gives its slices, and either a complete checkpoint is durable or nothing that a reader
// would take for one. The files stand in FORMAT.md, the order of writes in README.md.
#ifndef TRIREME_CHECKPOINT_WRITER_H_
#define TRIREME_CHECKPOINT_WRITER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "checkpoint/commit_record.h"
#include "checkpoint/state.h"
#include "checkpoint/storage.h"
#include "checkpoint/tensor_slice.h"
#include "runtime/communicator.h"

namespace trireme {

// The same on every rank, except for `aliases`, of which a rank may know only some.
struct SaveRequest {
  std::string run_directory;  // made if absent; its parent exists
  CheckpointState state;
  std::vector<TensorAlias> aliases;
  int keep = 0;  // complete checkpoints that stay, this one included; 0 = all
};

struct SaveReport {
  std::string directory;  // of the checkpoint, within the run directory
  CommitRecord record;
  int64_t bytes = 0;  // of all writers' files
  int64_t num_files = 0;
  int64_t num_tensors = 0;
  std::vector<std::string> deleted;  // names of old checkpoints; on rank 0 only
};

// Collective over `world`; blocks until the checkpoint is durable. All ranks' slices together hold every
// element of every tensor exactly once (a rank may have none). The slices' memory must not change meanwhile.
//
// Every rank returns the same status, and no rank waits for one that failed. Aborted: the ranks disagree
// about step, configuration or directory. Internal: their slices do not make whole tensors. Else the error of
// the first rank that could not write (storage.h). Whatever fails, checkpoints that were complete before
// still are. An error behind LATEST says so: then the new one is durable and only deleting old ones failed.
absl::StatusOr<SaveReport> Save(const SaveRequest& request, absl::Span<const TensorSlice> mine,
                                Communicator& world, Storage& storage);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_WRITER_H_
