// cp.async: a copy happens as late as its wait allows, and its destination is destroyed when it is issued. So
// a missing wait, a wait for too little, or a slot that is reused too early shows in every order of threads.
#ifndef TRIREME_TESTS_EMULATOR_ASYNC_COPY_H_
#define TRIREME_TESTS_EMULATOR_ASYNC_COPY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace trireme::emulator {

inline constexpr int kCopyBytes = 16;

// The copies of one thread that have been issued and not waited for.
class CopyQueue {
 public:
  // `global` is nullptr for zeros.
  void Issue(void* shared, const void* global) { copies_.push_back({shared, global, open_group_}); }
  void Commit() { ++open_group_; }
  // Does the copies of all committed groups but the `pending` youngest.
  void Wait(int pending);
  void Clear();

 private:
  struct Copy {
    void* shared;
    const void* global;
    int64_t group;
  };
  std::vector<Copy> copies_;  // from first_ on
  size_t first_ = 0;
  int64_t open_group_ = 0;
};

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_ASYNC_COPY_H_
