#ifndef TRIREME_LAUNCH_MACHINE_PEAK_H_
#define TRIREME_LAUNCH_MACHINE_PEAK_H_

#include "configs/config.pb.h"
#include "runtime/communicator.h"
#include "runtime/device.h"

namespace trireme {

// Collective. The best matrix product of the training dtype, in GFLOP/s over all hosts of the job, or over
// all ranks' GPUs: what MFU is a share of. Measured once in a run, on one host with all its cores, or one
// GPU, while the other ranks wait, and kept in RUN/machine.json.
double MachinePeakGflops(const Config& config, int num_cores, Device& device, Communicator& world);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_MACHINE_PEAK_H_
