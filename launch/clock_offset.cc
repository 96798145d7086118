#include "launch/clock_offset.h"

namespace trireme {
namespace {

constexpr int kNumExchanges = 16;

void SendTime(Communicator& world, double seconds, int peer) {
  world.Wait(world.StartSend(&seconds, 1, DType::kF64, peer));
}

double ReceiveTime(Communicator& world, int peer) {
  double seconds = 0;
  world.Wait(world.StartReceive(&seconds, 1, DType::kF64, peer));
  return seconds;
}

double OffsetOf(Communicator& world, int peer, const std::function<double()>& clock) {
  double shortest = 0, offset = 0;
  for (int i = 0; i < kNumExchanges; ++i) {
    const double begin = clock();
    SendTime(world, begin, peer);
    const double theirs = ReceiveTime(world, peer);
    const double end = clock();
    if (i > 0 && end - begin >= shortest) continue;
    shortest = end - begin;
    offset = theirs - (begin + end) / 2;
  }
  return offset;
}

}  // namespace

double ClockOffset(Communicator& world, const std::function<double()>& clock) {
  if (world.rank() == 0) {
    for (int peer = 1; peer < world.size(); ++peer) SendTime(world, OffsetOf(world, peer, clock), peer);
    return 0;
  }
  for (int i = 0; i < kNumExchanges; ++i) {
    ReceiveTime(world, 0);
    SendTime(world, clock(), 0);
  }
  return ReceiveTime(world, 0);
}

}  // namespace trireme
