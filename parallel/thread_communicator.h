// Ranks as threads of one process: the mesh of every test.
#ifndef TRIREME_PARALLEL_THREAD_COMMUNICATOR_H_
#define TRIREME_PARALLEL_THREAD_COMMUNICATOR_H_

#include <chrono>
#include <functional>

#include "runtime/communicator.h"

namespace trireme {

struct ThreadOptions {
  // A send completes only when its receive has been started, as large messages do over a real transport.
  // Without it the bytes are copied and a send completes at once. Code must be right with both.
  bool rendezvous_sends = false;

  // How long a rank may wait for one operation while others are busy elsewhere.
  std::chrono::milliseconds deadlock_timeout = std::chrono::seconds(120);
};

// Runs `body` once on each of `num_ranks` threads, each with its own rank of one communicator, and returns
// when all have returned. The communicator dies with its call of `body`.
//
// Aborts the process, with a report of what every rank waits for, as soon as no rank can go on: when all of
// them wait or have returned, at once; when one waits longer than the timeout, then. So a rank that gives up
// (a failed ASSERT) cannot hang the others. Aborts as well when ranks start different collectives (kind,
// count, dtype, op or root), when a receive does not fit its send, and when a rank returns from `body` with
// operations not waited for.
//
// In place: all-reduce and all-to-all with in == out; all-gather with in == out + rank * count;
// reduce-scatter with out == in + rank * count.
void RunThreadRanks(int num_ranks, const std::function<void(Communicator& world)>& body,
                    const ThreadOptions& options = {});

}  // namespace trireme

#endif  // TRIREME_PARALLEL_THREAD_COMMUNICATOR_H_
