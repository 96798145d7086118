#include "runtime/row_exchange.h"

#include <glog/logging.h>

namespace trireme {

Communicator::Ticket RowExchange::StartOffsets(Communicator& ep, const View& offsets, const View& received) {
  const int64_t own = received.shape[1] - 1;
  here_.clear();
  there_.clear();
  for (int peer = 0; peer < ep.size(); ++peer) {
    here_.push_back({offsets.as<int32_t>() + peer * own, own + 1, peer});
    there_.push_back({received.as<int32_t>() + peer * (own + 1), own + 1, peer});
  }
  return ep.StartExchange(here_, there_, DType::kI32);
}

Communicator::Ticket RowExchange::StartRows(Communicator& ep, const View& from, const View& to,
                                            const View& sent_offsets, const View& received_offsets,
                                            bool back) {
  const int64_t own = received_offsets.shape[1] - 1, cols = from.shape[1];
  const View& at_home = back ? to : from;
  const View& at_experts = back ? from : to;
  const int32_t* sent = sent_offsets.as<int32_t>();
  const int32_t* received = received_offsets.as<int32_t>();
  here_.clear();
  there_.clear();
  // Between two ranks the experts follow each other on both sides.
  for (int peer = 0; peer < ep.size(); ++peer) {
    for (int64_t e = peer * own; e < (peer + 1) * own; ++e) {
      const int64_t rows = sent[e + 1] - sent[e];
      if (rows > 0) here_.push_back({at_home.row(sent[e]), rows * cols, peer});
    }
  }
  // At an expert the ranks follow each other.
  int64_t place = 0;
  for (int64_t e = 0; e < own; ++e) {
    for (int peer = 0; peer < ep.size(); ++peer) {
      const int32_t* of_peer = received + peer * (own + 1) + e;
      const int64_t rows = of_peer[1] - of_peer[0];
      if (rows > 0) there_.push_back({at_experts.row(place), rows * cols, peer});
      place += rows;
    }
  }
  CHECK_LE(place, at_experts.shape[0]) << "rows for the experts of rank " << ep.rank() << " of ep";
  return ep.StartExchange(back ? there_ : here_, back ? here_ : there_, from.dtype);
}

}  // namespace trireme
