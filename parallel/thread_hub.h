// Who waits for what, among ranks that are threads of one process; finds deadlocks.
#ifndef TRIREME_PARALLEL_THREAD_HUB_H_
#define TRIREME_PARALLEL_THREAD_HUB_H_

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>

namespace trireme {

// One lock guards the hub and all that its ranks share; it is held for book-keeping, never while data is
// moved.
class ThreadHub {
 public:
  struct Operation {
    virtual ~Operation() = default;
    // For the report of a deadlock; called with the mutex held.
    virtual std::string Describe() const = 0;

    bool done = false;  // guarded by the hub's mutex
  };

  ThreadHub(int num_ranks, std::chrono::milliseconds timeout) : ranks_(num_ranks), timeout_(timeout) {}

  std::mutex& mutex() { return mutex_; }

  // Blocks rank `rank` until `operation` is done. Takes the mutex.
  void Wait(int rank, const Operation& operation);

  // Marks an operation done and wakes who waits for it. The caller holds the mutex.
  void Complete(Operation& operation);

  // Rank `rank` has returned from its body. Takes the mutex.
  void Leave(int rank);

 private:
  struct Rank {
    std::condition_variable wake;
    const Operation* waits_for = nullptr;
    bool has_left = false;
  };

  void AbortIfNoRankCanGoOn() const;
  std::string Report() const;

  std::mutex mutex_;
  std::deque<Rank> ranks_;  // a deque, because a condition variable cannot be moved
  const std::chrono::milliseconds timeout_;
};

}  // namespace trireme

#endif  // TRIREME_PARALLEL_THREAD_HUB_H_
