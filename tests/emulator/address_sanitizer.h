// What AddressSanitizer has to be told: switches of stacks, and memory that nobody may touch. The emulator
// itself is never instrumented (its inner loops would be several times slower); the build says whether its
// users are.
#ifndef TRIREME_TESTS_EMULATOR_ADDRESS_SANITIZER_H_
#define TRIREME_TESTS_EMULATOR_ADDRESS_SANITIZER_H_

#include <cstddef>

namespace trireme::emulator {

#ifdef TRIREME_EMULATOR_ADDRESS_SANITIZER

extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old, size_t* size_old);
void __asan_poison_memory_region(void const volatile* address, size_t size);
void __asan_unpoison_memory_region(void const volatile* address, size_t size);
void* __asan_region_is_poisoned(void* begin, size_t size);
}

inline constexpr bool kAddressSanitizer = true;
inline void StartSwitch(void** save, const void* bottom, size_t size) {
  __sanitizer_start_switch_fiber(save, bottom, size);
}
inline void FinishSwitch(void* saved, const void** bottom_old, size_t* size_old) {
  __sanitizer_finish_switch_fiber(saved, bottom_old, size_old);
}
inline void PoisonMemory(const void* begin, size_t size) {
  __asan_poison_memory_region(begin, size);
}
inline void UnpoisonMemory(const void* begin, size_t size) {
  __asan_unpoison_memory_region(begin, size);
}
inline bool IsPoisoned(const void* begin, size_t size) {
  return __asan_region_is_poisoned(const_cast<void*>(begin), size) != nullptr;
}

#else

inline constexpr bool kAddressSanitizer = false;
inline void StartSwitch(void**, const void*, size_t) {}
inline void FinishSwitch(void*, const void**, size_t*) {}
inline void PoisonMemory(const void*, size_t) {}
inline void UnpoisonMemory(const void*, size_t) {}
inline bool IsPoisoned(const void*, size_t) {
  return false;
}

#endif

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_ADDRESS_SANITIZER_H_
