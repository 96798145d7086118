// What ranks tell each other around a save: small, blocking, and the same calls on every rank whatever went
// wrong on one.
#ifndef TRIREME_CHECKPOINT_AGREEMENT_H_
#define TRIREME_CHECKPOINT_AGREEMENT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/communicator.h"

namespace trireme {

// Collective. Ok if every rank is; else, on every rank, the error of the first rank that has one, with its
// number.
absl::Status AgreeOnStatus(const absl::Status& mine, Communicator& world);

// Collective. Every rank gets root's bytes.
void BroadcastBytes(std::string* bytes, int root, Communicator& world);

// Collective. Rank 0 gets every rank's bytes, by rank; the others get nothing.
std::vector<std::string> GatherBytes(const std::string& mine, Communicator& world);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_AGREEMENT_H_
