// Time as durations are measured with.
#ifndef TRIREME_RUNTIME_CLOCK_H_
#define TRIREME_RUNTIME_CLOCK_H_

#include <chrono>

namespace trireme {

// Seconds since some moment of the past; never goes back.
inline double NowSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CLOCK_H_
