// The functions that code compiled with -fsanitize=thread calls. They replace ThreadSanitizer, which is not
// linked: every access is told to the race checker, atomics are done here.
#include <cstddef>
#include <cstdint>

#include "tests/emulator/race_checker.h"

using trireme::emulator::Access;    // NOLINT(google-global-names-in-headers): a source file
using trireme::emulator::OnAccess;  // NOLINT(google-global-names-in-headers)

#define TRIREME_INSTRUCTION __builtin_return_address(0)

extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier, bugprone-macro-parentheses): the compiler's names

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_read_range(void* address, size_t bytes) {
  OnAccess(address, bytes, Access::kRead, TRIREME_INSTRUCTION);
}
void __tsan_write_range(void* address, size_t bytes) {
  OnAccess(address, bytes, Access::kWrite, TRIREME_INSTRUCTION);
}

#define TRIREME_ACCESSES(bytes)                                    \
  void __tsan_read##bytes(void* address) {                         \
    OnAccess(address, bytes, Access::kRead, TRIREME_INSTRUCTION);  \
  }                                                                \
  void __tsan_write##bytes(void* address) {                        \
    OnAccess(address, bytes, Access::kWrite, TRIREME_INSTRUCTION); \
  }                                                                \
  void __tsan_unaligned_read##bytes(void* address) {               \
    OnAccess(address, bytes, Access::kRead, TRIREME_INSTRUCTION);  \
  }                                                                \
  void __tsan_unaligned_write##bytes(void* address) {              \
    OnAccess(address, bytes, Access::kWrite, TRIREME_INSTRUCTION); \
  }
TRIREME_ACCESSES(1)
TRIREME_ACCESSES(2)
TRIREME_ACCESSES(4)
TRIREME_ACCESSES(8)
TRIREME_ACCESSES(16)
#undef TRIREME_ACCESSES

#define TRIREME_UPDATE(bits, name, builtin)                                                        \
  uint##bits##_t __tsan_atomic##bits##_##name(volatile void* address, uint##bits##_t value, int) { \
    OnAccess(const_cast<const void*>(address), bits / 8, Access::kAtomic, TRIREME_INSTRUCTION);    \
    return builtin(static_cast<volatile uint##bits##_t*>(address), value, __ATOMIC_SEQ_CST);       \
  }
#define TRIREME_ATOMICS(bits)                                                                                \
  uint##bits##_t __tsan_atomic##bits##_load(const volatile void* address, int) {                             \
    OnAccess(const_cast<const void*>(address), bits / 8, Access::kAtomic, TRIREME_INSTRUCTION);              \
    return __atomic_load_n(static_cast<const volatile uint##bits##_t*>(address), __ATOMIC_SEQ_CST);          \
  }                                                                                                          \
  void __tsan_atomic##bits##_store(volatile void* address, uint##bits##_t value, int) {                      \
    OnAccess(const_cast<const void*>(address), bits / 8, Access::kAtomic, TRIREME_INSTRUCTION);              \
    __atomic_store_n(static_cast<volatile uint##bits##_t*>(address), value, __ATOMIC_SEQ_CST);               \
  }                                                                                                          \
  TRIREME_UPDATE(bits, exchange, __atomic_exchange_n)                                                        \
  TRIREME_UPDATE(bits, fetch_add, __atomic_fetch_add)                                                        \
  TRIREME_UPDATE(bits, fetch_sub, __atomic_fetch_sub)                                                        \
  TRIREME_UPDATE(bits, fetch_and, __atomic_fetch_and)                                                        \
  TRIREME_UPDATE(bits, fetch_or, __atomic_fetch_or)                                                          \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile void* address, void* expected,                  \
                                                    uint##bits##_t value, int, int) {                        \
    OnAccess(const_cast<const void*>(address), bits / 8, Access::kAtomic, TRIREME_INSTRUCTION);              \
    return __atomic_compare_exchange_n(static_cast<volatile uint##bits##_t*>(address),                       \
                                       static_cast<uint##bits##_t*>(expected), value, false,                 \
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                  \
  }                                                                                                          \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile void* address, void* expected,                    \
                                                  uint##bits##_t value, int, int) {                          \
    OnAccess(const_cast<const void*>(address), bits / 8, Access::kAtomic, TRIREME_INSTRUCTION);              \
    return __atomic_compare_exchange_n(static_cast<volatile uint##bits##_t*>(address),                       \
                                       static_cast<uint##bits##_t*>(expected), value, false,                 \
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                  \
  }                                                                                                          \
  uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(volatile void* address, uint##bits##_t expected, \
                                                            uint##bits##_t value, int, int) {                \
    OnAccess(const_cast<const void*>(address), bits / 8, Access::kAtomic, TRIREME_INSTRUCTION);              \
    __atomic_compare_exchange_n(static_cast<volatile uint##bits##_t*>(address), &expected, value, false,     \
                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                         \
    return expected;                                                                                         \
  }
TRIREME_ATOMICS(8)
TRIREME_ATOMICS(32)
TRIREME_ATOMICS(64)
#undef TRIREME_ATOMICS
#undef TRIREME_UPDATE

void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}

// NOLINTEND(bugprone-reserved-identifier, bugprone-macro-parentheses)
}
