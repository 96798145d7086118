// Collectives as messages between pairs of ranks, in phases, with all additions in rank order. What carries
// the messages is not known here.
//
// All-reduce: every rank gathers its slice from all, adds in rank order, and sends the sum to all: twice the
// bytes whatever the number of ranks, and one rank computes each element, so all get the same bits. Small
// ones are gathered whole by everybody and added locally, in the same order. Large ones go in pieces, so that
// staging is bounded.
#ifndef TRIREME_PARALLEL_MESSAGE_LANE_H_
#define TRIREME_PARALLEL_MESSAGE_LANE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "parallel/staging_pool.h"
#include "runtime/communicator.h"
#include "runtime/dtype.h"

namespace trireme {

struct LaneMessage {
  bool is_send = false;
  void* data = nullptr;  // only read, by a send
  int64_t bytes = 0;     // above 0
  int peer = 0;
};

// A sequence of phases, each a set of messages. Both sides of a pair list the messages between them in the
// same order.
class MessageLane {
 public:
  virtual ~MessageLane() = default;

  // Appends the messages of the next phase, which may be none, having done the local work that follows the
  // phase before, whose messages have all arrived and left. False, and nothing appended, when there is no
  // further phase.
  virtual bool Next(std::vector<LaneMessage>& messages) = 0;
};

using MessageLanes = std::vector<std::unique_ptr<MessageLane>>;

// Makes the lanes of a rank's collectives; several lanes of one collective are independent of each other. The
// same calls on all ranks yield the same number of lanes. Staging buffers live as long as their lanes.
class LaneFactory {
 public:
  // piece_bytes: staging of a lane, and with it how much of a large reduction is under way at a time.
  LaneFactory(int rank, int size, int64_t piece_bytes, StagingPool& staging)
      : rank_(rank), size_(size), piece_bytes_(piece_bytes), staging_(staging) {}

  MessageLanes AllReduce(const void* in, void* out, int64_t count, DType dtype, ReduceOp op) const;
  MessageLanes AllGather(const void* in, void* out, int64_t bytes) const;
  MessageLanes ReduceScatter(const void* in, void* out, int64_t count, DType dtype) const;
  MessageLanes AllToAll(const void* in, void* out, int64_t bytes) const;
  MessageLanes Exchange(absl::Span<const Communicator::Piece> sends,
                        absl::Span<const Communicator::Piece> receives, int64_t element_bytes) const;
  MessageLanes Broadcast(void* data, int64_t bytes, int root) const;
  // One message.
  MessageLanes Single(const LaneMessage& message) const;

 private:
  const int rank_;
  const int size_;
  const int64_t piece_bytes_;
  StagingPool& staging_;
};

}  // namespace trireme

#endif  // TRIREME_PARALLEL_MESSAGE_LANE_H_
