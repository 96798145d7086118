#include "tests/graph_device.h"

#include <glog/logging.h>

namespace trireme {

void GraphDevice::BeginCapture() {
  CHECK(!captures_);
  captures_ = true;
  graphs_.emplace_back();
}

GraphId GraphDevice::EndCapture() {
  CHECK(captures_);
  captures_ = false;
  return num_graphs() - 1;
}

void GraphDevice::Replay(GraphId graph) {
  CHECK(!captures_);
  ++num_replays_;
  for (const auto& launch : graphs_[graph]) launch();
}

void GraphDevice::Launch(Kernel kernel, const KernelArguments& arguments, StreamId stream) {
  if (!captures_) {
    ++num_launches_;
    return CpuDevice::Launch(kernel, arguments, stream);
  }
  graphs_.back().push_back([this, kernel, stream, owned = OwnedArguments(arguments)] {
    CpuDevice::Launch(kernel, owned.get(), stream);
  });
}

void GraphDevice::CopyToDevice(void* device, const void* host, int64_t bytes, StreamId stream) {
  CHECK(!captures_) << "a copy from the host is no part of a graph";
  CpuDevice::CopyToDevice(device, host, bytes, stream);
}

}  // namespace trireme
