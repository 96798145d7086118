#include "runtime/repeated_run.h"

namespace trireme {

void RepeatedRun::Run(Device& device, absl::FunctionRef<void()> enqueue) {
  if (state_ == State::kNew) {
    enqueue();
    state_ = State::kWarm;
    return;
  }
  if (state_ == State::kWarm) {
    device.BeginCapture();
    enqueue();
    graph_ = device.EndCapture();
    state_ = State::kCaptured;
  }
  device.Replay(graph_);
}

}  // namespace trireme
