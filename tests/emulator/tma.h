// Copies by TMA that have been started: loads, which happen when no thread can go on, and stores, which read
// their tile when they are waited for.
#ifndef TRIREME_TESTS_EMULATOR_TMA_H_
#define TRIREME_TESTS_EMULATOR_TMA_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/emulator/hopper_types.h"

namespace trireme::emulator {

struct TmaCopy {
  TensorMap map;
  int row;
  int column;
  uint32_t tile;  // shared address
  Mbarrier* barrier;
  int64_t group;
};

// Of a block. Loads may finish in any order.
class TmaLoads {
 public:
  void Start(const TmaCopy& copy) { loads_.push_back(copy); }
  bool empty() const { return loads_.empty(); }
  size_t size() const { return loads_.size(); }
  void Clear() { loads_.clear(); }
  // Does one of them and tells its barrier.
  void Finish(size_t index);

 private:
  std::vector<TmaCopy> loads_;
};

// Of a thread.
class TmaStores {
 public:
  void Start(TmaCopy copy) {
    copy.group = open_group_;
    stores_.push_back(copy);
  }
  void Commit() { ++open_group_; }
  // Does those of all committed groups but the `pending` youngest.
  void Wait(int pending);
  void Clear();

 private:
  std::vector<TmaCopy> stores_;
  int64_t open_group_ = 0;
};

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_TMA_H_
