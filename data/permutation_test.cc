#include "data/permutation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace trireme {
namespace {

std::vector<int64_t> Order(uint64_t seed, int64_t epoch, int64_t size) {
  const Permutation permutation(seed, epoch, size);
  std::vector<int64_t> order(size);
  for (int64_t i = 0; i < size; ++i) order[i] = permutation(i);
  return order;
}

TEST(PermutationTest, IsABijectionForEverySize) {
  for (const int64_t size :
       {1, 2, 3, 4, 5, 7, 8, 16, 17, 63, 64, 65, 127, 128, 997, 1000, 4096, 4097, 65537}) {
    std::vector<bool> seen(size, false);
    for (const int64_t value : Order(3, 1, size)) {
      ASSERT_TRUE(value >= 0 && value < size && !seen[value]) << size << ": " << value;
      seen[value] = true;
    }
  }
}

TEST(PermutationTest, SizesBeyondMemoryWork) {
  const int64_t size = (int64_t{1} << 62) - 57;
  const Permutation permutation(3, 1, size);
  EXPECT_NE(permutation(0), permutation(size - 1));
  EXPECT_LT(permutation(size - 1), size);
}

TEST(PermutationTest, OtherSeedsAndEpochsGiveOtherOrders) {
  EXPECT_EQ(Order(1, 2, 1000), Order(1, 2, 1000));
  EXPECT_NE(Order(1, 2, 1000), Order(1, 3, 1000));
  EXPECT_NE(Order(1, 2, 1000), Order(2, 2, 1000));
}

// Of a random permutation: mean distance moved n/3, deviation of that mean about 0.24 sqrt(n); one fixed
// point on average.
TEST(PermutationTest, LooksRandom) {
  const int64_t size = 10000;
  for (int64_t epoch = 0; epoch < 8; ++epoch) {
    const std::vector<int64_t> order = Order(17, epoch, size);
    double moved = 0;
    double stepped = 0;
    int64_t fixed = 0;
    for (int64_t i = 0; i < size; ++i) {
      moved += std::abs(static_cast<double>(order[i] - i)) / size;
      stepped += std::abs(static_cast<double>(order[i] - order[(i + 1) % size])) / size;
      fixed += order[i] == i ? 1 : 0;
    }
    EXPECT_NEAR(moved, size / 3.0, 5 * 0.24 * std::sqrt(size));
    EXPECT_NEAR(stepped, size / 3.0, 5 * 0.24 * std::sqrt(size));
    EXPECT_LE(fixed, 8);
  }
}

// Over many epochs each index goes everywhere, and neighbours are parted, as often as chance has it:
// chi-square over its degrees of freedom is 1 with a deviation below 0.16.
TEST(PermutationTest, FewWindowsAreShuffledAsWellAsMany) {
  constexpr int kEpochs = 20000;
  for (const int64_t size : {5, 6, 10}) {
    std::vector<double> single(size * size);
    std::vector<double> joint(size * size);
    for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
      const std::vector<int64_t> order = Order(9, epoch, size);
      for (int64_t i = 0; i < size; ++i) ++single[i * size + order[i]];
      ++joint[order[0] * size + order[1]];
    }
    double single_chi = 0;
    double joint_chi = 0;
    const double single_mean = kEpochs / static_cast<double>(size);
    const double joint_mean = single_mean / static_cast<double>(size - 1);
    for (int64_t i = 0; i < size * size; ++i) {
      single_chi += (single[i] - single_mean) * (single[i] - single_mean) / single_mean;
      if (i % (size + 1) != 0) joint_chi += (joint[i] - joint_mean) * (joint[i] - joint_mean) / joint_mean;
    }
    EXPECT_LT(single_chi / static_cast<double>((size - 1) * (size - 1)), 2) << size;
    EXPECT_LT(joint_chi / static_cast<double>(size * (size - 1) - 1), 2) << size;
  }
}

TEST(PermutationTest, KeepsItsOrderAcrossVersions) {
  EXPECT_EQ(Order(1, 0, 10), (std::vector<int64_t>{2, 3, 6, 4, 9, 8, 1, 5, 7, 0}));
}

}  // namespace
}  // namespace trireme
