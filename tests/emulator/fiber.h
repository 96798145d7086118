// Fibers: the stacks on which the threads of an emulated block take turns. One operating-system thread owns a
// pool of them; a fiber never moves to another.
#ifndef TRIREME_TESTS_EMULATOR_FIBER_H_
#define TRIREME_TESTS_EMULATOR_FIBER_H_

#include <cstddef>
#include <memory>
#include <vector>

namespace trireme::emulator {

struct Fiber {
  void* stack_pointer = nullptr;  // where it goes on
  void* fake_stack = nullptr;     // AddressSanitizer's, while another fiber runs
  char* stack_bottom = nullptr;   // of the usable part
  size_t stack_bytes = 0;
};

class FiberPool {
 public:
  // Every fiber runs `body`, which must never return: it runs a thread, gives its fiber back and leaves by
  // SwitchTo; a fiber that is taken again goes on behind that SwitchTo.
  FiberPool(void (*body)(), int max_fibers);
  ~FiberPool();
  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;

  // The fiber that is running: at first main(), the stack of whoever uses the pool.
  Fiber* current() { return current_; }
  Fiber* main() { return &main_; }

  Fiber* Take();
  void GiveBack(Fiber* fiber) { free_.push_back(fiber); }

  // Leaves the running fiber; returns when somebody switches to it.
  void SwitchTo(Fiber* fiber);
  // Leaves the running fiber for good.
  [[noreturn]] void AbandonTo(Fiber* fiber);
  // From main(): all fibers, wherever they were left, start anew when taken.
  void Reset();

  bool IsStack(const void* address) const { return address >= region_ && address < region_ + region_bytes_; }

  // The start of every fiber; called by its first instructions only.
  void Enter();

 private:
  void Prepare(Fiber* fiber);

  void (*body_)();
  size_t region_bytes_;
  char* region_;  // of all stacks
  Fiber main_;
  Fiber* current_ = &main_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_;
};

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_FIBER_H_
