// By how much the clocks of ranks differ: each host counts from a moment of its own.
#ifndef TRIREME_LAUNCH_CLOCK_OFFSET_H_
#define TRIREME_LAUNCH_CLOCK_OFFSET_H_

#include <functional>

#include "runtime/clock.h"
#include "runtime/communicator.h"

namespace trireme {

// Collective over `world`. Returns this rank's clock minus rank 0's, in seconds. Rank 0 asks each rank for
// its time and takes the middle of question and answer for the same moment; of 16 exchanges the quickest
// counts (Cristian, Distributed Computing 3, 1989). Wrong by at most half that exchange: microseconds. It
// does not follow clocks that drift apart later.
double ClockOffset(Communicator& world, const std::function<double()>& clock = NowSeconds);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_CLOCK_OFFSET_H_
