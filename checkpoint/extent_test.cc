#include "checkpoint/extent.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace trireme {
namespace {

// The indices of a box's elements in the row-major order of `outer`, in the box's own row-major order.
std::vector<int64_t> Indices(const Box& outer, const Box& box) {
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < box.volume(); ++i) {
    Box element = box;
    int64_t rest = i;
    for (int d = box.num_dims - 1; d >= 0; --d) {
      element.begin[d] = box.begin[d] + rest % box.extent(d);
      rest /= box.extent(d);
    }
    indices.push_back(FlatOffset(outer, element));
  }
  return indices;
}

TEST(ExtentTest, EveryFlatRangeIsItsBoxesInOrder) {
  const std::vector<Box> boxes = {Box(),
                                  Box({{5, 12}}),
                                  Box({{0, 4}, {3, 8}}),
                                  Box({{2, 3}, {0, 6}}),
                                  Box({{0, 6}, {7, 8}}),
                                  Box({{1, 4}, {0, 3}, {2, 6}}),
                                  Box({{0, 2}, {0, 3}, {0, 1}, {4, 7}})};
  for (const Box& box : boxes) {
    for (int64_t begin = 0; begin <= box.volume(); ++begin) {
      for (int64_t end = begin; end <= box.volume(); ++end) {
        const std::vector<Box> parts = BoxesOfRange(box, begin, end);
        std::vector<int64_t> indices;
        for (const Box& part : parts) {
          for (const int64_t index : Indices(box, part)) indices.push_back(index);
        }
        std::vector<int64_t> expected;
        for (int64_t i = begin; i < end; ++i) expected.push_back(i);
        ASSERT_EQ(indices, expected) << box.ToString() << " [" << begin << ", " << end << ")";
        ASSERT_LE(parts.size(), std::max(1, 2 * box.num_dims - 1)) << box.ToString();
      }
    }
  }
}

TEST(ExtentTest, WholeRowsAreOneBox) {
  const Box box({{0, 10}, {0, 8}});
  ASSERT_EQ(BoxesOfRange(box, 8, 40).size(), 1u);
  EXPECT_EQ(BoxesOfRange(box, 8, 40)[0], Box({{1, 5}, {0, 8}}));
  ASSERT_EQ(BoxesOfRange(box, 5, 43).size(), 3u);
  EXPECT_EQ(BoxesOfRange(box, 5, 43)[0], Box({{0, 1}, {5, 8}}));
  EXPECT_EQ(BoxesOfRange(box, 5, 43)[2], Box({{5, 6}, {0, 3}}));
}

TEST(ExtentTest, IntersectionOfDisjointBoxesIsEmpty) {
  EXPECT_EQ(Intersect(Box({{0, 4}, {2, 9}}), Box({{3, 8}, {0, 5}})), Box({{3, 4}, {2, 5}}));
  EXPECT_TRUE(Intersect(Box({{0, 4}}), Box({{4, 8}})).empty());
  EXPECT_TRUE(Intersect(Box({{0, 4}}), Box({{7, 8}})).empty());
  EXPECT_FALSE(Intersect(Box(), Box()).empty());
}

TEST(ExtentTest, CoverAcceptsAPartitionThatNoCutSeparates) {
  // Four boxes around a middle one, like a pinwheel.
  const std::vector<Box> pinwheel = {Box({{0, 1}, {0, 2}}), Box({{0, 2}, {2, 3}}), Box({{2, 3}, {1, 3}}),
                                     Box({{1, 3}, {0, 1}}), Box({{1, 2}, {1, 2}})};
  EXPECT_TRUE(CoversOnce(Shape({3, 3}), pinwheel).ok());
}

TEST(ExtentTest, CoverRefusesHolesOverlapsAndBoth) {
  const Shape shape({4, 6});
  EXPECT_EQ(CoversOnce(shape, {Box({{0, 2}, {0, 6}}), Box({{2, 4}, {0, 5}})}).message(),
            "2 of 24 elements are missing");
  EXPECT_EQ(CoversOnce(shape, {Box({{0, 2}, {0, 6}}), Box({{1, 4}, {0, 6}})}).message(),
            "boxes 0:2,0:6 and 1:4,0:6 overlap");
  // As many elements as the tensor has, but one row twice and one never.
  EXPECT_FALSE(CoversOnce(shape, {Box({{0, 2}, {0, 6}}), Box({{1, 3}, {0, 6}})}).ok());
  EXPECT_FALSE(CoversOnce(shape, {}).ok());
  EXPECT_FALSE(CoversOnce(shape, {Box({{0, 5}, {0, 6}})}).ok());
  EXPECT_FALSE(CoversOnce(shape, {Box({{0, 24}})}).ok());
  EXPECT_TRUE(CoversOnce(Shape(), {Box()}).ok());
  EXPECT_FALSE(CoversOnce(Shape(), {Box(), Box()}).ok());
}

TEST(ExtentTest, CoverOfAHundredThousandRangesIsQuick) {
  const Shape shape({1000, 1000});
  const Box whole = WholeBox(shape);
  std::vector<Box> boxes;
  for (int64_t begin = 0; begin < whole.volume(); begin += 17) {
    const std::vector<Box> part = BoxesOfRange(whole, begin, std::min(begin + 17, whole.volume()));
    boxes.insert(boxes.end(), part.begin(), part.end());
  }
  EXPECT_TRUE(CoversOnce(shape, boxes).ok());
  boxes.pop_back();
  EXPECT_FALSE(CoversOnce(shape, boxes).ok());
}

}  // namespace
}  // namespace trireme
