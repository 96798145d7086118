// The messages of ops/expert_exchange.h, from the offsets that say whose rows are where.
#ifndef TRIREME_RUNTIME_ROW_EXCHANGE_H_
#define TRIREME_RUNTIME_ROW_EXCHANGE_H_

#include <vector>

#include "runtime/communicator.h"
#include "runtime/kernel.h"

namespace trireme {

// Starts the exchanges of one executor. Its buffers are kept, so that steps allocate nothing.
class RowExchange {
 public:
  // Every rank's offsets of the receiver's experts: `offsets` [E + 1] -> `received` [P, E / P + 1].
  Communicator::Ticket StartOffsets(Communicator& ep, const View& offsets, const View& received);

  // Rows [T k, D] to where their experts are, [B, D]; or with `back` the other way. The offsets are the
  // host's to read. Aborts if more rows arrive than there is room for.
  Communicator::Ticket StartRows(Communicator& ep, const View& from, const View& to, const View& sent_offsets,
                                 const View& received_offsets, bool back);

 private:
  std::vector<Communicator::Piece> here_, there_;
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_ROW_EXCHANGE_H_
