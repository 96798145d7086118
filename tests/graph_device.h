// The host as a device that has graphs, so that what is captured when, and what a replay may not know, is
// tested on any mesh at the speed of the CPU.
#ifndef TRIREME_TESTS_GRAPH_DEVICE_H_
#define TRIREME_TESTS_GRAPH_DEVICE_H_

#include <functional>
#include <vector>

#include "runtime/cpu/cpu_device.h"

namespace trireme {

// A kernel's arguments with an op and operands of their own.
struct OwnedArguments {
  explicit OwnedArguments(const KernelArguments& arguments)
      : op(arguments.op),
        inputs(arguments.inputs.begin(), arguments.inputs.end()),
        outputs(arguments.outputs.begin(), arguments.outputs.end()),
        others(arguments) {}

  // While this lives and stays where it is.
  KernelArguments get() const {
    return {.op = op,
            .inputs = inputs,
            .outputs = outputs,
            .accumulate = others.accumulate,
            .workspace = others.workspace,
            .mesh = others.mesh,
            .coordinate = others.coordinate,
            .num_threads = others.num_threads,
            .stream = others.stream};
  }

  Op op;
  std::vector<View> inputs;
  std::vector<View> outputs;
  KernelArguments others;  // its own op and operands may be gone
};

// A graph is a list of launches with their arguments by value.
class GraphDevice : public CpuDevice {
 public:
  using CpuDevice::CpuDevice;

  bool has_graphs() const override { return true; }
  void BeginCapture() override;
  GraphId EndCapture() override;
  void Replay(GraphId graph) override;
  void Launch(Kernel kernel, const KernelArguments& arguments, StreamId stream) override;
  void CopyToDevice(void* device, const void* host, int64_t bytes, StreamId stream) override;

  int64_t num_graphs() const { return static_cast<int64_t>(graphs_.size()); }
  int64_t num_replays() const { return num_replays_; }
  int64_t num_launches() const { return num_launches_; }  // that were done at once

 private:
  std::vector<std::vector<std::function<void()>>> graphs_;
  bool captures_ = false;
  int64_t num_replays_ = 0;
  int64_t num_launches_ = 0;
};

}  // namespace trireme

#endif  // TRIREME_TESTS_GRAPH_DEVICE_H_
