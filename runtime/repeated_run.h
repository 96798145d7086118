// A run of kernels that comes again and again with the same arguments, as a graph of the device.
#ifndef TRIREME_RUNTIME_REPEATED_RUN_H_
#define TRIREME_RUNTIME_REPEATED_RUN_H_

#include "absl/functional/function_ref.h"
#include "runtime/device.h"

namespace trireme {

// What its key has to settle: every address, shape and number that `enqueue` gives to a kernel. What differs
// between two runs is read by the kernels from the device's memory, or a replay does the work of another run.
class RepeatedRun {
 public:
  // Enqueues on the compute stream of `device`, which has graphs and is the same each time, what `enqueue`
  // does. The first time as it is: libraries choose their algorithms, kernels are loaded, and whoever
  // allocates does it now. The second time it is captured and the graph replayed; afterwards only replayed.
  void Run(Device& device, absl::FunctionRef<void()> enqueue);

 private:
  enum class State : uint8_t { kNew, kWarm, kCaptured };
  State state_ = State::kNew;
  GraphId graph_ = 0;
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_REPEATED_RUN_H_
