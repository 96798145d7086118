// What CUDA C++ has besides collectives: atomics, cache hints, bit operations, fast mathematics.
#ifndef TRIREME_TESTS_EMULATOR_INTRINSICS_H_
#define TRIREME_TESTS_EMULATOR_INTRINSICS_H_

#include <math.h>  // NOLINT(modernize-deprecated-headers): its names stand outside of std

#include <bit>
#include <cstdint>
#include <type_traits>

#include "tests/emulator/block.h"

// CUDA's names. NOLINTBEGIN(bugprone-reserved-identifier)

namespace trireme::emulator {
template <typename T>
concept AtomicInteger = std::is_integral_v<T> &&(sizeof(T) == 4 || sizeof(T) == 8);
template <AtomicInteger T, typename Update>
T AtomicUpdate(T* address, Update update) {
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (
      !__atomic_compare_exchange_n(address, &old, update(old), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
}  // namespace trireme::emulator

// Integers only: a sum of floats would depend on the order of threads.
template <trireme::emulator::AtomicInteger T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
template <trireme::emulator::AtomicInteger T>
T atomicSub(T* address, std::type_identity_t<T> value) {
  return __atomic_fetch_sub(address, value, __ATOMIC_RELAXED);
}
template <trireme::emulator::AtomicInteger T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);
}
template <trireme::emulator::AtomicInteger T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
template <trireme::emulator::AtomicInteger T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}
template <trireme::emulator::AtomicInteger T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
template <trireme::emulator::AtomicInteger T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return trireme::emulator::AtomicUpdate(address, [=](T old) { return old < value ? old : value; });
}
template <trireme::emulator::AtomicInteger T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return trireme::emulator::AtomicUpdate(address, [=](T old) { return old > value ? old : value; });
}

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __nanosleep(unsigned, trireme::emulator::Site site = trireme::emulator::Site::current()) {
  trireme::emulator::CurrentBlock().Poll([](void*) { return true; }, nullptr, "__nanosleep", site);
}
[[noreturn]] inline void __trap(trireme::emulator::Site site = trireme::emulator::Site::current()) {
  trireme::emulator::CurrentBlock().Fail("__trap", site);
}

template <typename T>
T __ldg(const T* address) {
  return *address;
}
template <typename T>
T __ldcg(const T* address) {
  return *address;
}
template <typename T>
T __ldcs(const T* address) {
  return *address;
}
template <typename T>
void __stcg(T* address, std::type_identity_t<T> value) {
  *address = value;
}
template <typename T>
void __stcs(T* address, std::type_identity_t<T> value) {
  *address = value;
}

inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
inline long long __double_as_longlong(double x) {
  return std::bit_cast<long long>(x);
}
inline double __longlong_as_double(long long x) {
  return std::bit_cast<double>(x);
}
inline int __popcll(unsigned long long x) {
  return std::popcount(x);
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __ffs(int x) {
  return __builtin_ffs(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>(uint64_t{x} * y >> 32);
}
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1) << (31 - bit);
  return reversed;
}
// NOLINTEND(bugprone-reserved-identifier)

inline float rsqrtf(float x) {
  return 1.0f / sqrtf(x);
}

namespace trireme {

inline float FastExp2(float x) {
  return exp2f(x);
}
inline float FastLog2(float x) {
  return log2f(x);
}
inline float FastRsqrt(float x) {
  return rsqrtf(x);
}
inline float FastDivide(float x, float y) {
  return fabsf(y) > 0x1p126f ? 0.0f * x : x / y;
}

}  // namespace trireme

#endif  // TRIREME_TESTS_EMULATOR_INTRINSICS_H_
