#include "parallel/reduction.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace trireme {
namespace {

TEST(ReductionTest, AddsInTheOrderOfTheSources) {
  const float a = 1e8f, b = -1e8f, c = 1.0f;
  float out = 0;
  ReduceInOrder({&a, &b, &c}, &out, 1, DType::kF32, ReduceOp::kSum);
  EXPECT_EQ(out, 1.0f);
  ReduceInOrder({&a, &c, &b}, &out, 1, DType::kF32, ReduceOp::kSum);
  EXPECT_EQ(out, 0.0f);
}

TEST(ReductionTest, AddsBf16InFp32AndRoundsOnce) {
  const Bf16 one(1.0f), small(0.00390625f);  // half of bf16's spacing at 1
  Bf16 out;
  ReduceInOrder({&one, &small, &small}, &out, 1, DType::kBF16, ReduceOp::kSum);
  EXPECT_EQ(static_cast<float>(out), 1.0078125f);
}

TEST(ReductionTest, TheResultMayOverwriteAnySource) {
  constexpr int kCount = 5000;
  for (int target = 0; target < 3; ++target) {
    std::vector<std::vector<float>> sources(3, std::vector<float>(kCount));
    for (int s = 0; s < 3; ++s) {
      for (int i = 0; i < kCount; ++i) sources[s][i] = static_cast<float>(i * (s + 1));
    }
    ReduceInOrder({sources[0].data(), sources[1].data(), sources[2].data()}, sources[target].data(), kCount,
                  DType::kF32, ReduceOp::kSum);
    for (int i = 0; i < kCount; ++i) ASSERT_EQ(sources[target][i], 6.0f * i);
  }
}

TEST(ReductionTest, IntegersWrap) {
  const int32_t max = std::numeric_limits<int32_t>::max(), one = 1;
  int32_t out = 0;
  ReduceInOrder({&max, &one}, &out, 1, DType::kI32, ReduceOp::kSum);
  EXPECT_EQ(out, std::numeric_limits<int32_t>::min());
}

TEST(ReductionTest, TheMaximumOfANaNIsANaN) {
  const double nan = std::nan(""), one = 1, two = 2;
  double out = 0;
  ReduceInOrder({&one, &nan, &two}, &out, 1, DType::kF64, ReduceOp::kMax);
  EXPECT_TRUE(std::isnan(out));
  ReduceInOrder({&one, &two, &nan}, &out, 1, DType::kF64, ReduceOp::kMax);
  EXPECT_TRUE(std::isnan(out));
  ReduceInOrder({&two, &one}, &out, 1, DType::kF64, ReduceOp::kMax);
  EXPECT_EQ(out, 2.0);
}

TEST(ReductionDeathTest, BytesHaveNoSum) {
  const uint8_t a = 1;
  uint8_t out = 0;
  EXPECT_DEATH(ReduceInOrder({&a, &a}, &out, 1, DType::kU8, ReduceOp::kSum), "no reduction of u8");
}

}  // namespace
}  // namespace trireme
