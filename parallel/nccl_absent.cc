// Stands in for nccl_communicator.cc in a build without NCCL.
#include "parallel/nccl_communicator.h"

namespace trireme {

absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclWorld(Communicator&, Device&, const NcclOptions&) {
  return absl::FailedPreconditionError(
      "this trireme was built without NCCL, which several GPUs need; install NCCL's headers and library and "
      "build anew, or train on one rank, or with parallel.transport=host, which is slow");
}

}  // namespace trireme
