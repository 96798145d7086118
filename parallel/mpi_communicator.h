// Ranks as processes, over MPI. The only wrapper of MPI: its header appears in the source file alone.
#ifndef TRIREME_PARALLEL_MPI_COMMUNICATOR_H_
#define TRIREME_PARALLEL_MPI_COMMUNICATOR_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "runtime/communicator.h"

namespace trireme {

struct MpiOptions {
  // Large reductions go in pieces of this size, two at a time: at most about twice this is staged for each.
  int64_t piece_bytes = 4 << 20;
  // Longer messages are cut; MPI counts in 32 bits.
  int64_t max_message_bytes = 1 << 30;
};

// The life of MPI in this process, from start to finish. At most one, made once, by main; it outlives every
// communicator that comes from it. All of these are called by one thread at a time, whichever communicator it
// is: any call on one of them also moves the operations of the others ahead.
//
// Errors of MPI end the job, as does a message of another length than its receiver expects.
//
// In place: all-reduce and all-to-all with in == out; all-gather with in == out + rank * count;
// reduce-scatter with out == in + rank * count.
class MpiEnvironment {
 public:
  // Without mpirun (which the caller knows; nothing here reads the environment) MPI is left alone and the
  // world is a group of one. Fails where MPI gives no thread support.
  static absl::StatusOr<std::unique_ptr<MpiEnvironment>> Create(bool under_mpirun,
                                                                const MpiOptions& options = {});

  // Waits until all ranks are here, then finalizes MPI: mpirun ends the others when one leaves with an error
  // code while they still work.
  ~MpiEnvironment();

  Communicator& world() { return *world_; }

  // Bytes that collectives hold for their own use. Constant once each size has been used as often at once as
  // it will be.
  int64_t staging_bytes() const;

  // Ends all ranks at once; for a rank that cannot go on while others wait for it.
  [[noreturn]] void Abort(int exit_code);

 private:
  class Engine;
  class GroupOfMany;

  explicit MpiEnvironment(std::unique_ptr<Engine> engine);

  std::unique_ptr<Engine> engine_;  // null without mpirun
  std::unique_ptr<Communicator> world_;
};

}  // namespace trireme

#endif  // TRIREME_PARALLEL_MPI_COMMUNICATOR_H_
