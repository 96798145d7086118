// A communicator that leaves out one operation of a run: what a forgotten collective or message would do.
// Tests that claim to see every missing one are shown each of them.
#ifndef TRIREME_TESTS_MUTED_COMMUNICATOR_H_
#define TRIREME_TESTS_MUTED_COMMUNICATOR_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/communicator.h"

namespace trireme {

// One operation of a run, the same one on all ranks that take part in it. Communicators are numbered as they
// are split off the world (which is 0), which all ranks do in one order; operations as a communicator starts
// them, collectives and receives.
struct MutedOperation {
  int communicator = -1;
  int64_t operation = -1;

  bool operator==(const MutedOperation&) const = default;
  std::string ToString() const;
};

// What the ranks of one run started. Thread-safe.
class OperationCounts {
 public:
  void Add(int communicator, int64_t operation);
  // All of them, communicator by communicator.
  std::vector<MutedOperation> All() const;

 private:
  mutable std::mutex mutex_;
  std::map<int, int64_t> num_operations_;  // by communicator: of the rank that started most
};

// Passes everything on to `of`, but for `muted`: a muted collective gives each rank what it would get if all
// others had sent what it sent itself (a sum: its own part), a muted receive or exchange gives zeros. What is
// started is added to `counts`, unless that is null. Both references must outlive the communicator and those
// split off it.
std::unique_ptr<Communicator> MuteOne(Communicator& of, MutedOperation muted, OperationCounts* counts);

}  // namespace trireme

#endif  // TRIREME_TESTS_MUTED_COMMUNICATOR_H_
