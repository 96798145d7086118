#include "runtime/device.h"

#include <glog/logging.h>

namespace trireme {

void Device::BeginCapture() {
  LOG(FATAL) << description() << " has no graphs";
}

GraphId Device::EndCapture() {
  LOG(FATAL) << description() << " has no graphs";
}

void Device::Replay(GraphId) {
  LOG(FATAL) << description() << " has no graphs";
}

}  // namespace trireme
