// Ranks whose memory is a GPU's, over a communicator of host memory: every operation goes through a copy
// there and back. For what NCCL does not do: several ranks on one GPU, a build without NCCL, sums in the
// order of ranks.
#ifndef TRIREME_PARALLEL_HOST_STAGED_COMMUNICATOR_H_
#define TRIREME_PARALLEL_HOST_STAGED_COMMUNICATOR_H_

#include <memory>

#include "runtime/communicator.h"
#include "runtime/device.h"

namespace trireme {

// Operations on memory of `device`, carried by `host`; both must outlive it and all that is split from it.
// The results are those of `host`, bit for bit.
//
// Slow: unlike NCCL's, Start blocks until the compute stream has done what was enqueued, and Wait until the
// operation is complete. The staging memory of an operation is as large as its operands, and is kept for the
// next one.
std::unique_ptr<Communicator> StageThroughHost(Communicator& host, Device& device);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_HOST_STAGED_COMMUNICATOR_H_
