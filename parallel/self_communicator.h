// The communicator of a single rank: an axis of size 1. Every operation is a copy, complete when it is
// started.
#ifndef TRIREME_PARALLEL_SELF_COMMUNICATOR_H_
#define TRIREME_PARALLEL_SELF_COMMUNICATOR_H_

#include <cstdint>
#include <memory>

#include "runtime/communicator.h"
#include "runtime/device.h"

namespace trireme {

// It has no peers: a send or a receive is a bug, and aborts.
class SelfCommunicator : public Communicator {
 public:
  // Of the memory of `device`, on its compute stream; of the host's without one.
  explicit SelfCommunicator(Device* device = nullptr) : device_(device) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }

  Ticket StartAllReduce(const void* in, void* out, int64_t count, DType dtype, ReduceOp op) override;
  Ticket StartAllGather(const void* in, void* out, int64_t count, DType dtype) override;
  Ticket StartReduceScatter(const void* in, void* out, int64_t count, DType dtype) override;
  Ticket StartAllToAll(const void* in, void* out, int64_t count, DType dtype) override;
  Ticket StartExchange(absl::Span<const Piece> sends, absl::Span<const Piece> receives, DType dtype) override;
  Ticket StartBroadcast(void* data, int64_t count, DType dtype, int root) override;
  Ticket StartSend(const void* data, int64_t count, DType dtype, int peer) override;
  Ticket StartReceive(void* data, int64_t count, DType dtype, int peer) override;
  void Wait(Ticket ticket) override;
  void Progress() override {}
  void Barrier() override {}
  std::unique_ptr<Communicator> Split(int color, int key) override;

 private:
  Ticket Copy(const void* in, void* out, int64_t count, DType dtype);

  Device* const device_;
};

}  // namespace trireme

#endif  // TRIREME_PARALLEL_SELF_COMMUNICATOR_H_
