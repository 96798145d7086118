// wgmma: started operations wait in a queue of each thread; WgmmaWait does those that are due, for the whole
// warpgroup. The sums are destroyed when an operation on them is started and come back when the last of them
// is waited for.
#ifndef TRIREME_TESTS_EMULATOR_WGMMA_H_
#define TRIREME_TESTS_EMULATOR_WGMMA_H_

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "tests/emulator/hopper_types.h"

namespace trireme::emulator {

inline constexpr int kWarpgroupThreads = 128;

class WgmmaQueue {
 public:
  struct Operation {
    WgmmaRequest request;
    std::array<uint32_t, 4> a_registers;
    int64_t group;
  };
  // The sums of a thread while operations on them are in flight.
  struct Sums {
    float* registers;
    int size;
    int operations = 0;
    std::array<float, 128> values;
  };

  void Start(const WgmmaRequest& request);
  void Commit() { ++open_group_; }
  void Fence() { fenced_ = true; }
  bool fenced() const { return fenced_; }
  bool empty() const { return operations_.empty(); }
  // How many operations must be done so that only `pending` groups are left.
  int NumDue(int pending) const;
  const Operation& operation(int i) const { return operations_[i]; }
  Sums& sums_of(const Operation& operation);
  // Operation 0 is done; its sums come back if it was the last on them.
  void Finish();
  // Behind a wait registers may be touched: the next operation needs a fence.
  void EndWait() { fenced_ = false; }
  void Clear();

 private:
  std::deque<Operation> operations_;
  std::vector<Sums> sums_;
  int64_t open_group_ = 0;
  bool fenced_ = false;
};

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_WGMMA_H_
