// The rules that a configuration must keep, checked before anything is built or written.
#ifndef TRIREME_CONFIGS_VALIDATE_H_
#define TRIREME_CONFIGS_VALIDATE_H_

#include "absl/status/status.h"
#include "configs/config.pb.h"
#include "configs/errors.h"

namespace trireme {

// Adds all broken rules that do not depend on the number of ranks: missing fields, ranges, choices, the
// model's own arithmetic, what this version does not offer. Expects the defaults filled in. A rule about
// several fields is checked when each of them is right by itself and not yet among `errors`.
void CollectErrors(const Config& config, ConfigErrors* errors);

// The same as a status: INVALID_ARGUMENT, one line "field: value: what is wrong; remedy" an error.
absl::Status Validate(const Config& config);

// Gives every axis of the mesh its size (an unset axis is 1, but an unset dp takes the ranks that the others
// leave) and train.micro_batch its value (unset: all of a replica's share), and checks the model and the
// batch against them. All errors together, as above; `config` is changed only when there are none. Expects a
// config from LoadConfig.
//   num_ranks   of the whole job, at least 1
absl::Status ResolveMesh(Config* config, int num_ranks);

}  // namespace trireme

#endif  // TRIREME_CONFIGS_VALIDATE_H_
