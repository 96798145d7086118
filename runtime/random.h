// Counter-based random numbers: Philox4x32-10. Every draw is a pure function of (key, counter), so initial
// values, dropout and the data order do not depend on the mesh, on the number of threads or on what was drawn
// before. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#ifndef TRIREME_RUNTIME_RANDOM_H_
#define TRIREME_RUNTIME_RANDOM_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>

namespace trireme {

using Philox4 = std::array<uint32_t, 4>;

// Four independent 32-bit words for one (counter, key).
inline Philox4 Philox(Philox4 counter, std::array<uint32_t, 2> key) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53u;
  constexpr uint64_t kMultiplier1 = 0xCD9E8D57u;
  constexpr uint32_t kWeyl0 = 0x9E3779B9u;
  constexpr uint32_t kWeyl1 = 0xBB67AE85u;
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = kMultiplier0 * counter[0];
    const uint64_t p1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

// A 64-bit hash of a name (FNV-1a): names become Philox keys.
constexpr uint64_t HashName(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

// A stream of random numbers addressed by index: stream (seed, name), element `index`.
class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view name) : RandomStream(seed, HashName(name)) {}
  RandomStream(uint64_t seed, uint64_t name_hash) {
    const uint64_t key = seed * 0x9E3779B97F4A7C15u ^ name_hash;
    key_ = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
  }

  // Four words for (index, sub_index).
  Philox4 Words(uint64_t index, uint64_t sub_index = 0) const {
    return Philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                   static_cast<uint32_t>(sub_index), static_cast<uint32_t>(sub_index >> 32)},
                  key_);
  }

  // Uniform in (0, 1): never exactly 0 or 1.
  static double Uniform(uint32_t high, uint32_t low) {
    const uint64_t bits = (static_cast<uint64_t>(high) << 20) ^ (low >> 12);
    return (static_cast<double>(bits) + 0.5) * 0x1p-52;
  }

  // Standard normal (Box-Muller) for element `index`, computed in double.
  double Normal(uint64_t index) const {
    const Philox4 w = Words(index);
    const double radius = std::sqrt(-2.0 * std::log(Uniform(w[0], w[1])));
    return radius * std::cos(2.0 * 3.14159265358979323846 * Uniform(w[2], w[3]));
  }

  // What Philox is given, for kernels that draw many words at a time.
  std::array<uint32_t, 2> key() const { return key_; }

 private:
  std::array<uint32_t, 2> key_;
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_RANDOM_H_
