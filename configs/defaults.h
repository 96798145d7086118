// The values of fields that a configuration leaves unset. README.md lists them.
#ifndef TRIREME_CONFIGS_DEFAULTS_H_
#define TRIREME_CONFIGS_DEFAULTS_H_

#include "configs/config.pb.h"

namespace trireme {

// Sets every unset field that has a default. A default that follows from a field that is itself unset or
// absurd stays unset, so this may run before validation. What follows from the number of ranks (the mesh,
// train.micro_batch) is ResolveMesh's.
void FillDefaults(Config* config);

}  // namespace trireme

#endif  // TRIREME_CONFIGS_DEFAULTS_H_
