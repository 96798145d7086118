// Ranks over NCCL: what they do together on the memory of their GPUs. The only wrapper of NCCL.
#ifndef TRIREME_PARALLEL_NCCL_COMMUNICATOR_H_
#define TRIREME_PARALLEL_NCCL_COMMUNICATOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/communicator.h"
#include "runtime/device.h"

namespace trireme {

struct NcclOptions {
  // An operation that has been under way for so long has lost a rank: the process ends with a report of what
  // every communicator was doing. A peer that hangs within a node raises no error of its own.
  double deadline_seconds = 600;
};

// Collective over `bootstrap`, which carries the id by which the ranks find each other, and which is not used
// afterwards. The new communicator has the same ranks; its operations are on memory of `device` (a
// CudaDevice), which must outlive it and all that is split from it. Each has a stream of its own.
//
// Reductions are NCCL's: the same bits in every run of a mesh on the same machines, on every rank the same;
// not the order of ranks that MPI and threads add in.
//
// Fails where this build has no NCCL, or NCCL cannot connect the ranks.
absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclWorld(Communicator& bootstrap, Device& device,
                                                              const NcclOptions& options = {});

}  // namespace trireme

#endif  // TRIREME_PARALLEL_NCCL_COMMUNICATOR_H_
