// The device that a run's configuration and machine ask for.
#ifndef TRIREME_LAUNCH_OPEN_DEVICE_H_
#define TRIREME_LAUNCH_OPEN_DEVICE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "configs/config.pb.h"
#include "launch/environment.h"
#include "runtime/device.h"

namespace trireme {

// train.device "cuda": GPU number local_rank, ranks of one host taking turns where there are fewer GPUs.
// "auto": that GPU where this program can use one and the dtype has kernels there, else the CPU; rank 0 says
// why. fp64 is the CPU's alone. InvalidArgument names the field.
absl::StatusOr<std::unique_ptr<Device>> OpenDevice(const Config& config,
                                                   const LaunchEnvironment& environment);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_OPEN_DEVICE_H_
