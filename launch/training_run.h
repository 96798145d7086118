// One run of training, from an open mesh to its last checkpoint: the composition root. It builds the objects,
// hands them down, and loops over steps.
#ifndef TRIREME_LAUNCH_TRAINING_RUN_H_
#define TRIREME_LAUNCH_TRAINING_RUN_H_

#include <functional>

#include "configs/config.pb.h"
#include "launch/environment.h"
#include "launch/step_trace.h"
#include "runtime/communicator.h"

namespace trireme {

enum class ResumeMode {
  kAuto,      // from the newest checkpoint, or from the start if there is none
  kRequired,  // from the newest checkpoint; none is an error
  kNever,     // from the start; older checkpoints stay
};

// Collective over `world`. `config`: validated, with its mesh resolved. Returns the exit code
// (configs/exit_codes.h), the same on every rank; rank 0 has said why. Errors at start-up are agreed on, so
// that no rank waits for one that failed; an error in the middle of training ends the job through `abort`.
int RunTraining(const Config& config, ResumeMode resume, const TraceRequest& trace,
                const LaunchEnvironment& environment, Communicator& world,
                const std::function<void(int exit_code)>& abort);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_TRAINING_RUN_H_
