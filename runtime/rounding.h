// Stochastic rounding of fp32 to bf16: up or down by chance, with the probabilities that make the mean the
// number itself, so that small updates of a bf16 parameter are not lost. Source: arXiv:1502.02551, section 3.
#ifndef TRIREME_RUNTIME_ROUNDING_H_
#define TRIREME_RUNTIME_ROUNDING_H_

#include <algorithm>
#include <bit>
#include <cstdint>

#include "runtime/dtype.h"
#include "runtime/random.h"

namespace trireme {

// The upper 16 bits of `word` decide. A number that bf16 has stays what it is; infinities and NaNs too.
inline Bf16 RoundStochastically(float x, uint32_t word) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return Bf16(x);
  Bf16 rounded;
  rounded.bits = static_cast<uint16_t>((bits + (word >> 16)) >> 16);
  return rounded;
}

// Which word rounds which element of a flat range of parameters, whatever mesh has cut the range out: that of
// the element's index in its whole parameter. From `offset` on, up to the next place, lie rows of `cols`
// elements of a parameter with rows of `width`, the first of which has index `first`. A range's places lie by
// ascending offset, from 0.
struct RoundingPlace {
  int64_t offset;
  int64_t cols;
  int64_t first;
  int64_t width;
  int64_t key;  // of Philox, two words

  int64_t IndexOf(int64_t i) const { return first + (i - offset) / cols * width + (i - offset) % cols; }
  std::array<uint32_t, 2> PhiloxKey() const {
    return {static_cast<uint32_t>(key), static_cast<uint32_t>(static_cast<uint64_t>(key) >> 32)};
  }
};
inline constexpr int64_t kNumRoundingPlaceFields = 5;
static_assert(sizeof(RoundingPlace) == kNumRoundingPlaceFields * sizeof(int64_t));

// The last place that is not behind element i.
inline const RoundingPlace* FindRoundingPlace(const RoundingPlace* places, int64_t count, int64_t i) {
  return std::upper_bound(places, places + count, i,
                          [](int64_t at, const RoundingPlace& place) { return at < place.offset; }) -
         1;
}

// Of `update`, counted from 1.
inline uint32_t RoundingWord(const RoundingPlace& place, int64_t i, uint64_t update) {
  const auto index = static_cast<uint64_t>(place.IndexOf(i));
  return Philox({static_cast<uint32_t>(update), static_cast<uint32_t>(update >> 32),
                 static_cast<uint32_t>(index / 4), static_cast<uint32_t>(index / 4 >> 32)},
                place.PhiloxKey())[index % 4];
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_ROUNDING_H_
