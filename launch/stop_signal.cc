#include "launch/stop_signal.h"

#include <atomic>
#include <csignal>

namespace trireme {
namespace {

// A signal handler can reach nothing else.
std::atomic<bool> stop_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free);

}  // namespace

void ListenForStop() {
  struct sigaction action = {};
  action.sa_handler = [](int) { stop_requested = true; };
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
}

bool StopRequested() {
  return stop_requested;
}

}  // namespace trireme
