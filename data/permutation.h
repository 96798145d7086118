// The order of windows: a permutation of [0, size) as a pure function of (seed, epoch, index), without an
// index in memory. A Feistel network over the next power of four, keyed by Philox; values beyond the size are
// sent through again until they fall inside ("cycle walking"), fewer than four times on average. Source:
// Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.
#ifndef TRIREME_DATA_PERMUTATION_H_
#define TRIREME_DATA_PERMUTATION_H_

#include <glog/logging.h>

#include <bit>
#include <cstdint>

#include "runtime/random.h"

namespace trireme {

class Permutation {
 public:
  // size in [1, 2^62].
  Permutation(uint64_t seed, int64_t epoch, int64_t size)
      : stream_(seed, "data order"), epoch_(epoch), size_(size) {
    CHECK(size >= 1 && size <= int64_t{1} << 62) << size;
    half_bits_ = (std::bit_width(static_cast<uint64_t>(size - 1)) + 1) / 2;
  }

  // Where `index`, in [0, size), goes.
  int64_t operator()(int64_t index) const {
    CHECK(index >= 0 && index < size_) << index << " of " << size_;
    auto value = static_cast<uint64_t>(index);
    do {
      value = Feistel(value);
    } while (value >= static_cast<uint64_t>(size_));
    return static_cast<int64_t>(value);
  }

 private:
  // Six are enough for large sizes; on a handful of windows a chi-square test tells fewer than twelve from
  // random.
  static constexpr int kRounds = 16;

  uint64_t Feistel(uint64_t value) const {
    const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
    uint64_t left = value >> half_bits_;
    uint64_t right = value & mask;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const uint64_t mixed = left ^ (stream_.Words(right | round << 32, epoch_)[0] & mask);
      left = right;
      right = mixed;
    }
    return left << half_bits_ | right;
  }

  RandomStream stream_;
  uint64_t epoch_;
  int64_t size_;
  int half_bits_;
};

}  // namespace trireme

#endif  // TRIREME_DATA_PERMUTATION_H_
