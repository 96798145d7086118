#include "runtime/alibi.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace trireme {
namespace {

TEST(AlibiSlopesTest, ArePowersOfOneBaseForAPowerOfTwo) {
  EXPECT_EQ(AlibiSlopes(1), std::vector<float>({1.0f / 256}));
  EXPECT_EQ(AlibiSlopes(4), std::vector<float>({0.25f, 0.0625f, 0.015625f, 0.00390625f}));
  EXPECT_EQ(AlibiSlopes(8).front(), 0.5f);
  EXPECT_EQ(AlibiSlopes(8).back(), 1.0f / 256);
  EXPECT_FLOAT_EQ(AlibiSlopes(16).front(), std::sqrt(0.5f));
}

// Printed by transformers 4.x' build_alibi_tensor for 3, 6 and 12 heads.
TEST(AlibiSlopesTest, TakeEverySecondSlopeOfTwiceTheHeadsForTheRest) {
  const auto expect = [](int64_t heads, const std::vector<float>& wanted) {
    const std::vector<float> slopes = AlibiSlopes(heads);
    ASSERT_EQ(slopes.size(), wanted.size());
    for (size_t i = 0; i < slopes.size(); ++i) EXPECT_FLOAT_EQ(slopes[i], wanted[i]) << heads << ", " << i;
  };
  expect(3, {0.0625f, 0.00390625f, 0.25f});
  expect(6, {0.25f, 0.0625f, 0.015625f, 0.00390625f, 0.5f, 0.125f});
  expect(12, {0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f, 0.015625f, 0.0078125f, 0.00390625f, 0.70710677f,
              0.35355338f, 0.17677669f, 0.088388346f});
}

}  // namespace
}  // namespace trireme
