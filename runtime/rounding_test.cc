#include "runtime/rounding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace trireme {
namespace {

float Rounded(float x, uint32_t word) {
  return static_cast<float>(RoundStochastically(x, word));
}

TEST(RoundingTest, NumbersThatBf16HasStayWhatTheyAre) {
  for (float x : {0.0F, -0.0F, 1.0F, -1.5F, 0x1p-126F, 0x1.fep127F, std::numeric_limits<float>::infinity()}) {
    for (uint32_t word : {0U, 0x80000000U, 0xffffffffU}) {
      EXPECT_EQ(std::bit_cast<uint32_t>(Rounded(x, word)), std::bit_cast<uint32_t>(x)) << x;
    }
  }
}

TEST(RoundingTest, ANaNStaysANaN) {
  for (uint32_t bits : {0x7f800001U, 0x7fffffffU, 0xffffffffU}) {
    EXPECT_TRUE(std::isnan(Rounded(std::bit_cast<float>(bits), 0xffffffffU))) << std::hex << bits;
  }
}

// Over all 2^16 upper halves of a word the mean is exact: a float is so many 2^-16ths between its neighbours.
TEST(RoundingTest, TheMeanOverAllWordsIsTheNumber) {
  for (float x : {1.0001F, -3.14159F, 0.999F, 1e-38F, 12345.678F}) {
    double sum = 0;
    for (uint32_t upper = 0; upper < 1 << 16; ++upper) sum += static_cast<double>(Rounded(x, upper << 16));
    EXPECT_EQ(sum / (1 << 16), static_cast<double>(x)) << x;
  }
}

// A sum of n roundings, each up with probability f: its deviation is ulp sqrt(n f (1 - f)), of which six are
// passed once in 10^9.
TEST(RoundingTest, TheWordsOfAParameterAreFairOverElementsAndOverUpdates) {
  constexpr int64_t kElements = 100, kUpdates = 1000, kCount = kElements * kUpdates;
  constexpr double kUlp = 0x1p-7;  // of bf16 from 1 to 2
  const std::array<uint32_t, 2> key = RandomStream(3, "rounding w").key();
  const RoundingPlace place = {0, 10, 0, 64,
                               static_cast<int64_t>(static_cast<uint64_t>(key[1]) << 32 | key[0])};
  for (double f : {0.01, 0.25, 0.5, 0.9}) {
    const auto x = static_cast<float>(1 + f * kUlp);
    double error = 0;
    for (int64_t i = 0; i < kElements; ++i) {
      for (int64_t update = 1; update <= kUpdates; ++update) {
        const uint32_t word = RoundingWord(place, i, static_cast<uint64_t>(update));
        error += static_cast<double>(Rounded(x, word)) - static_cast<double>(x);
      }
    }
    EXPECT_LT(std::abs(error), 6 * kUlp * std::sqrt(kCount * f * (1 - f))) << f;
    EXPECT_NE(error, 0) << f;
  }
}

TEST(RoundingTest, APlaceCountsAlongRowsOfTheWholeParameter) {
  const RoundingPlace places[] = {{0, 8, 100, 8, 1}, {16, 3, 5, 10, 2}};
  EXPECT_EQ(FindRoundingPlace(places, 2, 15), places);
  EXPECT_EQ(FindRoundingPlace(places, 2, 16), places + 1);
  EXPECT_EQ(places[0].IndexOf(15), 115);
  for (const auto& [i, index] : {std::pair{16, 5}, {18, 7}, {19, 15}, {24, 27}}) {
    EXPECT_EQ(places[1].IndexOf(i), index) << i;
  }
}

}  // namespace
}  // namespace trireme
