// The device that a run's configuration and machine ask for.
#ifndef TRIREME_LAUNCH_OPEN_DEVICE_H_
#define TRIREME_LAUNCH_OPEN_DEVICE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "configs/config.pb.h"
#include "launch/environment.h"
#include "runtime/device.h"

namespace trireme {

// Whether train.device can be had on this machine, for the errors of a configuration; names the field.
absl::Status CheckDevice(const Config& config);

// train.device "cuda": GPU number local_rank, ranks of one host taking turns where there are fewer GPUs.
// "auto": that GPU where this program can use one and the dtype has kernels there (fp64 has none), else the
// CPU.
absl::StatusOr<std::unique_ptr<Device>> OpenDevice(const Config& config,
                                                   const LaunchEnvironment& environment);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_OPEN_DEVICE_H_
