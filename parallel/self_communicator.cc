#include "parallel/self_communicator.h"

#include <glog/logging.h>

#include <cstring>

namespace trireme {

Communicator::Ticket SelfCommunicator::Copy(const void* in, void* out, int64_t count, DType dtype) {
  CHECK_GE(count, 0);
  if (in == out || count == 0) return 0;
  if (device_ != nullptr) {
    device_->CopyWithin(out, in, count * SizeOf(dtype), 0);
  } else {
    std::memmove(out, in, count * SizeOf(dtype));
  }
  return 0;
}

Communicator::Ticket SelfCommunicator::StartAllReduce(const void* in, void* out, int64_t count, DType dtype,
                                                      ReduceOp /*op*/) {
  return Copy(in, out, count, dtype);
}

Communicator::Ticket SelfCommunicator::StartAllGather(const void* in, void* out, int64_t count, DType dtype) {
  return Copy(in, out, count, dtype);
}

Communicator::Ticket SelfCommunicator::StartReduceScatter(const void* in, void* out, int64_t count,
                                                          DType dtype) {
  return Copy(in, out, count, dtype);
}

Communicator::Ticket SelfCommunicator::StartAllToAll(const void* in, void* out, int64_t count, DType dtype) {
  return Copy(in, out, count, dtype);
}

Communicator::Ticket SelfCommunicator::StartExchange(absl::Span<const Piece> sends,
                                                     absl::Span<const Piece> receives, DType dtype) {
  CHECK_EQ(sends.size(), receives.size()) << "pieces of an exchange in a group of one";
  for (size_t i = 0; i < sends.size(); ++i) {
    CHECK_EQ(sends[i].count, receives[i].count) << "piece " << i << " of an exchange in a group of one";
    Copy(sends[i].data, receives[i].data, sends[i].count, dtype);
  }
  return 0;
}

Communicator::Ticket SelfCommunicator::StartBroadcast(void* /*data*/, int64_t /*count*/, DType /*dtype*/,
                                                      int root) {
  CHECK_EQ(root, 0);
  return 0;
}

Communicator::Ticket SelfCommunicator::StartSend(const void* /*data*/, int64_t count, DType dtype, int peer) {
  LOG(FATAL) << "send of " << count << " " << Name(dtype) << " to rank " << peer << " of a group of one";
  return 0;
}

Communicator::Ticket SelfCommunicator::StartReceive(void* /*data*/, int64_t count, DType dtype, int peer) {
  LOG(FATAL) << "receive of " << count << " " << Name(dtype) << " from rank " << peer << " of a group of one";
  return 0;
}

void SelfCommunicator::Wait(Ticket ticket) {
  CHECK_EQ(ticket, 0u) << "no operation of a group of one is under way";
}

std::unique_ptr<Communicator> SelfCommunicator::Split(int color, int /*key*/) {
  return color < 0 ? nullptr : std::make_unique<SelfCommunicator>(device_);
}

}  // namespace trireme
