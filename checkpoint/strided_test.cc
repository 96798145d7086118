#include "checkpoint/strided.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace trireme {
namespace {

using ::testing::HasSubstr;

TEST(StridedTest, TransposedSliceHoldsTheColumnsAsRows) {
  const Shape shape({50, 70});
  std::vector<float> disk(3500);
  std::iota(disk.begin(), disk.end(), 0.0f);
  const Box box({{3, 48}, {5, 69}});
  std::vector<float> memory(box.volume());
  const TensorSlice slice = {"w", DType::kF32, shape, box, memory.data(), true};
  ASSERT_TRUE(CopyRegion(box, RowMajor(disk.data(), DType::kF32, WholeBox(shape)), ViewOf(slice)).ok());
  for (int64_t r = 3; r < 48; ++r) {
    for (int64_t c = 5; c < 69; ++c) {
      ASSERT_EQ(memory[(c - 5) * 45 + (r - 3)], disk[r * 70 + c]) << r << "," << c;
    }
  }
}

TEST(StridedTest, OnlyTheRegionIsWritten) {
  std::vector<int32_t> from(24, 7);
  std::vector<int32_t> to(24, 0);
  const Box box({{0, 2}, {0, 3}, {0, 4}});
  const Box region({{1, 2}, {0, 2}, {1, 3}});
  ASSERT_TRUE(
      CopyRegion(region, RowMajor(from.data(), DType::kI32, box), RowMajor(to.data(), DType::kI32, box))
          .ok());
  for (int i = 0; i < 24; ++i) EXPECT_EQ(to[i], i == 13 || i == 14 || i == 17 || i == 18 ? 7 : 0) << i;
}

TEST(StridedTest, ConversionsKeepEveryBitOrAreRefused) {
  const Box box({{0, 2}});
  std::vector<Bf16> narrow = {Bf16(1.5f), Bf16(-3.0f)};
  std::vector<float> single(2);
  std::vector<double> wide(2);
  ASSERT_TRUE(
      CopyRegion(box, RowMajor(narrow.data(), DType::kBF16, box), RowMajor(single.data(), DType::kF32, box))
          .ok());
  EXPECT_EQ(single, (std::vector<float>{1.5f, -3.0f}));
  ASSERT_TRUE(
      CopyRegion(box, RowMajor(narrow.data(), DType::kBF16, box), RowMajor(wide.data(), DType::kF64, box))
          .ok());
  EXPECT_EQ(wide, (std::vector<double>{1.5, -3.0}));
  single = {0.1f, 2.0f};
  ASSERT_TRUE(
      CopyRegion(box, RowMajor(single.data(), DType::kF32, box), RowMajor(wide.data(), DType::kF64, box))
          .ok());
  EXPECT_EQ(wide[0], static_cast<double>(0.1f));
  ASSERT_TRUE(
      CopyRegion(box, RowMajor(wide.data(), DType::kF64, box), RowMajor(single.data(), DType::kF32, box))
          .ok());
  EXPECT_EQ(single[0], 0.1f);
  wide[1] = 0.1;
  EXPECT_THAT(
      CopyRegion(box, RowMajor(wide.data(), DType::kF64, box), RowMajor(single.data(), DType::kF32, box))
          .message(),
      HasSubstr("0.1, which no f32 equals"));
  EXPECT_FALSE(
      CopyRegion(box, RowMajor(single.data(), DType::kF32, box), RowMajor(narrow.data(), DType::kBF16, box))
          .ok());
}

TEST(StridedTest, DigestsOfDisjointSlicesAddUpToTheWhole) {
  const Shape shape({9, 11});
  std::vector<float> data(99);
  std::iota(data.begin(), data.end(), -40.0f);
  const TensorSlice whole = {"w", DType::kF32, shape, WholeBox(shape), data.data(), false};
  std::vector<TensorSlice> parts;
  AppendRange(whole, 0, 37, data.data(), &parts);
  AppendRange(whole, 37, 38, data.data() + 37, &parts);
  AppendRange(whole, 38, 99, data.data() + 38, &parts);
  uint64_t sum = 0;
  for (const TensorSlice& part : parts) sum += ContentDigest(part);
  EXPECT_EQ(sum, ContentDigest(whole));
  std::swap(data[3], data[90]);
  EXPECT_NE(sum, ContentDigest(whole));
}

TEST(StridedTest, DigestDoesNotDependOnTheOrderInMemory) {
  const Shape shape({5, 7});
  std::vector<float> data(35);
  std::iota(data.begin(), data.end(), 1.0f);
  std::vector<float> turned(35);
  for (int r = 0; r < 5; ++r) {
    for (int c = 0; c < 7; ++c) turned[c * 5 + r] = data[r * 7 + c];
  }
  EXPECT_EQ(ContentDigest({"w", DType::kF32, shape, WholeBox(shape), turned.data(), true}),
            ContentDigest({"w", DType::kF32, shape, WholeBox(shape), data.data(), false}));
}

// FORMAT.md states these numbers; other programs may compute them.
TEST(StridedTest, DigestIsTheDocumentedFunction) {
  std::vector<float> data = {0.0f, 1.0f};
  EXPECT_EQ(ContentDigest({"w", DType::kF32, Shape({1}), Box({{0, 1}}), data.data(), false}),
            0x5692161d100b05e5u);
  EXPECT_EQ(ContentDigest({"w", DType::kF32, Shape({2}), Box({{0, 2}}), data.data(), false}),
            0x4eef428f28856afeu);
}

}  // namespace
}  // namespace trireme
