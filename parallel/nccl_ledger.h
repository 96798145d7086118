// What a communicator has been doing, for the report of a hang: the last operations and which are done.
#ifndef TRIREME_PARALLEL_NCCL_LEDGER_H_
#define TRIREME_PARALLEL_NCCL_LEDGER_H_

#include <array>
#include <cstdint>
#include <string>

#include "runtime/dtype.h"

namespace trireme {

class CollectiveLedger {
 public:
  // `name`: of an operation, a literal. Returns its sequence number, from 1.
  uint64_t Start(const char* name, int64_t count, DType dtype, double now_seconds);
  // Everything up to `sequence` is done.
  void Done(uint64_t sequence, double now_seconds);

  uint64_t last_started() const { return last_started_; }
  uint64_t last_done() const { return last_done_; }
  // For how long nothing has completed although something is under way; 0 where nothing is.
  double StalledSeconds(double now_seconds) const;
  // "operation 118 of 120: all-reduce of 4096 f32, started 601 s ago", oldest under way first, a line each.
  std::string Report(double now_seconds) const;

 private:
  struct Entry {
    const char* name = "";
    int64_t count = 0;
    DType dtype = DType::kF32;
    double started = 0;
  };
  static constexpr int kKept = 64;

  std::array<Entry, kKept> entries_;  // by sequence modulo kKept
  uint64_t last_started_ = 0;
  uint64_t last_done_ = 0;
  double last_change_ = 0;  // when something completed, or started with nothing under way
};

}  // namespace trireme

#endif  // TRIREME_PARALLEL_NCCL_LEDGER_H_
