#include "tests/emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/emulator/address_sanitizer.h"

#if !defined(__x86_64__)
#error "the emulator switches fibers in x86-64 assembly; another processor needs its own emulator_switch"
#endif

// emulator_switch(void** save, void* to): keeps what the System V ABI asks a function to keep, 8
// instructions. emulator_enter: the first instruction of a fiber; Prepare left the pool in rbx.
asm(R"(
  .text
  .globl emulator_switch
  .type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size emulator_switch, .-emulator_switch

  .globl emulator_enter
  .type emulator_enter, @function
emulator_enter:
  xorl %ebp, %ebp
  movq %rbx, %rdi
  call emulator_enter_pool
  ud2
  .size emulator_enter, .-emulator_enter
)");

extern "C" {
void emulator_switch(void** save, void* to);
void emulator_enter();
void emulator_enter_pool(trireme::emulator::FiberPool* pool) {
  pool->Enter();
}
}

namespace trireme::emulator {
namespace {

constexpr size_t kGuardBytes = 4096;
constexpr size_t kStackBytes = kAddressSanitizer ? 256 * 1024 : 64 * 1024;

[[noreturn]] void OutOfMemory() {
  std::fprintf(stderr, "emulator: no memory for a stack\n");
  std::abort();
}

}  // namespace

// Address space for all stacks; memory comes with their use.
FiberPool::FiberPool(void (*body)(), int max_fibers)
    : body_(body), region_bytes_(static_cast<size_t>(max_fibers) * (kGuardBytes + kStackBytes)) {
  void* region = mmap(nullptr, region_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) OutOfMemory();
  region_ = static_cast<char*>(region);
}

FiberPool::~FiberPool() {
  for (const auto& fiber : fibers_) UnpoisonMemory(fiber->stack_bottom, fiber->stack_bytes);
  munmap(region_, region_bytes_);
}

Fiber* FiberPool::Take() {
  if (free_.empty()) {
    char* bottom = region_ + fibers_.size() * (kGuardBytes + kStackBytes) + kGuardBytes;
    if (mprotect(bottom, kStackBytes, PROT_READ | PROT_WRITE) != 0) OutOfMemory();
    fibers_.push_back(std::make_unique<Fiber>());
    Fiber* fiber = fibers_.back().get();
    fiber->stack_bottom = bottom;
    fiber->stack_bytes = kStackBytes;
    Prepare(fiber);
    free_.push_back(fiber);
  }
  Fiber* fiber = free_.back();
  free_.pop_back();
  return fiber;
}

// Stacks start at different offsets in a page, or their tops would all share a few sets of the first-level
// cache.
void FiberPool::Prepare(Fiber* fiber) {
  const size_t index = reinterpret_cast<uintptr_t>(fiber->stack_bottom) / kStackBytes;
  const size_t colour = index * 192 % 8192;
  auto** top = reinterpret_cast<void**>(fiber->stack_bottom + kStackBytes - colour - 64);
  top[0] = nullptr;
  top[-1] = reinterpret_cast<void*>(&emulator_enter);  // what emulator_switch returns to
  top[-2] = nullptr;                                   // rbp
  top[-3] = this;                                      // rbx
  for (int i = 4; i <= 7; ++i) top[-i] = nullptr;      // r12 to r15
  fiber->stack_pointer = top - 7;
  fiber->fake_stack = nullptr;
}

void FiberPool::SwitchTo(Fiber* fiber) {
  Fiber* self = current_;
  current_ = fiber;
  StartSwitch(&self->fake_stack, fiber->stack_bottom, fiber->stack_bytes);
  emulator_switch(&self->stack_pointer, fiber->stack_pointer);
  FinishSwitch(self->fake_stack, nullptr, nullptr);
}

void FiberPool::AbandonTo(Fiber* fiber) {
  Fiber* self = current_;
  current_ = fiber;
  StartSwitch(nullptr, fiber->stack_bottom, fiber->stack_bytes);
  emulator_switch(&self->stack_pointer, fiber->stack_pointer);
  std::abort();
}

void FiberPool::Reset() {
  free_.clear();
  for (const auto& fiber : fibers_) {
    UnpoisonMemory(fiber->stack_bottom, fiber->stack_bytes);
    Prepare(fiber.get());
    free_.push_back(fiber.get());
  }
}

void FiberPool::Enter() {
  const void* bottom = nullptr;
  size_t bytes = 0;
  FinishSwitch(nullptr, &bottom, &bytes);
  if (main_.stack_bottom == nullptr) {  // the first fiber ever is entered from main()
    main_.stack_bottom = static_cast<char*>(const_cast<void*>(bottom));
    main_.stack_bytes = bytes;
  }
  body_();
}

}  // namespace trireme::emulator
