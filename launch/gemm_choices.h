// Which algorithm each product of a run uses: timed once, kept in a file, the same on every rank.
#ifndef TRIREME_LAUNCH_GEMM_CHOICES_H_
#define TRIREME_LAUNCH_GEMM_CHOICES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/communicator.h"
#include "runtime/gemm_library.h"

namespace trireme {

struct GemmChoiceReport {
  int64_t timed = 0;  // over all ranks
  int64_t kept = 0;   // found in the file
  // Of this rank's problems: those with an epilogue, and those of them that are done in one kernel.
  int64_t epilogues = 0;
  int64_t in_one = 0;
};

// Collective over `world`. Gives `library` an algorithm for each of this rank's `uses`. What the file at
// `path` does not have for this card and version of the library is timed, each problem by the lowest rank
// that has it, so that replicas agree and get the same bits; rank 0 then adds it to the file, which need not
// exist. Fails on every rank, naming train.gemm_choices, where the file cannot be understood or written.
absl::Status ChooseGemms(const std::vector<GemmUse>& uses, const std::string& path, Communicator& world,
                         GemmLibrary* library, GemmChoiceReport* report);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_GEMM_CHOICES_H_
