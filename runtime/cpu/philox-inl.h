// Philox (runtime/random.h), many words at a time. Included once for every instruction set (Highway's
// convention for "-inl.h" files).
#if defined(TRIREME_RUNTIME_CPU_PHILOX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRIREME_RUNTIME_CPU_PHILOX_INL_H_
#undef TRIREME_RUNTIME_CPU_PHILOX_INL_H_
#else
#define TRIREME_RUNTIME_CPU_PHILOX_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cstdint>

#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"
#include "runtime/random.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

// The most words of Philox that are drawn at a time.
constexpr int64_t kMaxWords = 4 * HWY_MAX_BYTES / sizeof(uint64_t);

#if HWY_TARGET == HWY_SCALAR

struct RoundKeys {
  explicit RoundKeys(std::array<uint32_t, 2> key) : of(key) {}
  std::array<uint32_t, 2> of;
};

HWY_INLINE int64_t WordsAtATime() {
  return 4;
}

HWY_INLINE void DrawWords(const RoundKeys& keys, uint64_t index, uint64_t sub_index, uint32_t* words) {
  const Philox4 drawn = Philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                                static_cast<uint32_t>(sub_index), static_cast<uint32_t>(sub_index >> 32)},
                               keys.of);
  std::copy(drawn.begin(), drawn.end(), words);
}

#else

using U64 = hn::ScalableTag<uint64_t>;

HWY_INLINE int64_t WordsAtATime() {
  return 4 * static_cast<int64_t>(hn::Lanes(U64()));
}

// What each round of Philox() adds to its words.
struct RoundKeys {
  explicit RoundKeys(std::array<uint32_t, 2> key) {
    for (int i = 0; i < kRounds; ++i) {
      of[2 * i] = key[0] + static_cast<uint32_t>(i) * 0x9E3779B9u;
      of[2 * i + 1] = key[1] + static_cast<uint32_t>(i) * 0xBB67AE85u;
    }
  }
  static constexpr int kRounds = 10;
  uint64_t of[2 * kRounds];
};

// Draws words[4 i + j] = word j of (index, sub_index + i), WordsAtATime() of them: Philox() of random.h with
// a counter in each 64-bit lane, of which the lower half counts.
HWY_INLINE void DrawWords(const RoundKeys& keys, uint64_t index, uint64_t sub_index, uint32_t* words) {
  const U64 u64;
  const hn::Repartition<uint32_t, U64> u32;
  const auto multiply = [&](hn::Vec<U64> x, uint32_t by)
                            HWY_ATTR { return hn::MulEven(hn::BitCast(u32, x), hn::Set(u32, by)); };
  auto c0 = hn::Set(u64, index);
  auto c1 = hn::Set(u64, index >> 32);
  auto c2 = hn::Iota(u64, sub_index);
  auto c3 = hn::Zero(u64);  // the upper half of a sub_index, which stays below 2^32
  for (int i = 0; i < RoundKeys::kRounds; ++i) {
    const auto p0 = multiply(c0, 0xD2511F53u);
    const auto p1 = multiply(c2, 0xCD9E8D57u);
    c0 = hn::Xor3(hn::ShiftRight<32>(p1), c1, hn::Set(u64, keys.of[2 * i]));
    c2 = hn::Xor3(hn::ShiftRight<32>(p0), c3, hn::Set(u64, keys.of[2 * i + 1]));
    c1 = p1;
    c3 = p0;
  }
  const auto low = hn::Set(u64, 0xffffffffu);
  const auto first = hn::Or(hn::And(c0, low), hn::ShiftLeft<32>(c1));
  const auto second = hn::Or(hn::And(c2, low), hn::ShiftLeft<32>(c3));
  hn::StoreInterleaved2(first, second, u64, reinterpret_cast<uint64_t*>(words));
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#endif  // TRIREME_RUNTIME_CPU_PHILOX_INL_H_
