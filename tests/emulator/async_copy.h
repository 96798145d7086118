// cp.async: a copy happens as late as its wait allows, and its destination is destroyed when it is issued. So
// a missing wait, a wait for too little, or a slot that is reused too early shows in every order of threads.
#ifndef TRIREME_TESTS_EMULATOR_ASYNC_COPY_H_
#define TRIREME_TESTS_EMULATOR_ASYNC_COPY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/emulator/emulator.h"

namespace trireme::emulator {

inline constexpr int kCopyBytes = 16;

// The copies of one thread that have been issued and not waited for.
class CopyQueue {
 public:
  struct Copy {
    void* shared;
    const void* global;  // nullptr: zeros
    Site site;
    int64_t group = 0;
  };

  void Issue(Copy copy) {
    copy.group = open_group_;
    copies_.push_back(copy);
  }
  void Commit() { ++open_group_; }
  // Hands the copies of all committed groups but the `pending` youngest to `finish`.
  template <typename Finish>
  void Wait(int pending, Finish finish) {
    while (first_ < copies_.size() && copies_[first_].group < open_group_ - pending)
      finish(copies_[first_++]);
    if (first_ == copies_.size()) {
      copies_.clear();
      first_ = 0;
    }
  }
  void Clear() {
    copies_.clear();
    first_ = 0;
    open_group_ = 0;
  }

 private:
  std::vector<Copy> copies_;  // from first_ on
  size_t first_ = 0;
  int64_t open_group_ = 0;
};

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_ASYNC_COPY_H_
