// What every communicator must do, compared with plain definitions: the same checks over threads and over
// MPI.
#ifndef TRIREME_PARALLEL_COMMUNICATOR_CHECKS_H_
#define TRIREME_PARALLEL_COMMUNICATOR_CHECKS_H_

#include "runtime/communicator.h"

namespace trireme {

// Each is called by all ranks of `group`, at once, and fails the running GoogleTest test where a bit differs.
// Each goes through every dtype, through empty, single, odd and large counts, and through the forms in place.
void CheckAllReduce(Communicator& group);
void CheckAllGather(Communicator& group);
void CheckReduceScatter(Communicator& group);
void CheckAllToAll(Communicator& group);
// Pieces of many lengths, empty ones and ranks with none among them.
void CheckExchange(Communicator& group);
void CheckBroadcast(Communicator& group);

// A ring, several messages each way at a time: they arrive in order.
void CheckSendAndReceive(Communicator& group);

// Operations of several kinds and groups under way at once, waited for in another order on odd ranks.
void CheckManyAtOnce(Communicator& group);

// Groups by colour, ordered by key; a negative colour is left out.
void CheckSplit(Communicator& group);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_COMMUNICATOR_CHECKS_H_
