#include "launch/checkpoint_state.h"

#include <gtest/gtest.h>

#include <numeric>

#include "checkpoint/strided.h"

namespace trireme {
namespace {

constexpr int64_t kHeads = 4, kHeadSize = 3, kWidth = 5, kRows = kHeads * kHeadSize;

// Query, key and value of a tensor that has them head by head: [heads, 3, head size, width].
Parameter PartOf(int64_t part, bool is_vector) {
  Parameter parameter;
  parameter.name = "qkv";
  parameter.global_shape = is_vector ? Shape({kRows}) : Shape({kRows, kWidth});
  parameter.disk_name = "qkv";
  parameter.disk_shape = is_vector ? Shape({3 * kRows}) : Shape({3 * kRows, kWidth});
  parameter.disk_row = part * kHeadSize;
  parameter.disk_run = kHeadSize;
  parameter.disk_stride = 3 * kHeadSize;
  return parameter;
}

// Rows [begin, end), of a matrix columns [left, right), stored from element `offset` on.
ParameterBox RowsOf(const Parameter& parameter, int64_t begin, int64_t end, int64_t left, int64_t right,
                    int64_t offset) {
  ParameterBox box = {.parameter = &parameter, .num_dims = parameter.global_shape.num_dims()};
  box.begin[0] = begin;
  box.end[0] = end;
  if (box.num_dims == 2) {
    box.begin[1] = left;
    box.end[1] = right;
  }
  box.offset = offset;
  return box;
}

// What the slices say of each element on disk; -1 where none does.
std::vector<double> OnDisk(const std::vector<TensorSlice>& slices, const Shape& shape) {
  std::vector<double> disk(shape.num_elements(), -1);
  for (const TensorSlice& slice : slices) {
    EXPECT_EQ(slice.global_shape, shape);
    const absl::Status copied =
        CopyRegion(slice.box, ViewOf(slice), RowMajor(disk.data(), DType::kF64, WholeBox(shape)));
    EXPECT_TRUE(copied.ok()) << copied;
  }
  return disk;
}

TEST(CheckpointStateTest, PartsThatTakeTurnsOnDiskFillTheTensorHeadByHead) {
  for (const bool is_vector : {false, true}) {
    const int64_t width = is_vector ? 1 : kWidth;
    std::vector<double> memory(3 * kRows * width);
    std::iota(memory.begin(), memory.end(), 0.0);
    std::vector<TensorSlice> slices;
    std::vector<Box> boxes;
    Parameter parts[3];
    for (int64_t part = 0; part < 3; ++part) {
      parts[part] = PartOf(part, is_vector);
      const ParameterBox box = RowsOf(parts[part], 0, kRows, 0, kWidth, part * kRows * width);
      for (const TensorSlice& slice : SlicesOf(box, memory.data(), DType::kF64)) {
        slices.push_back(slice);
        boxes.push_back(slice.box);
      }
    }
    EXPECT_EQ(slices.size(), 3 * kHeads);
    EXPECT_TRUE(CoversOnce(parts[0].disk_shape, boxes).ok());
    const std::vector<double> disk = OnDisk(slices, parts[0].disk_shape);
    for (int64_t row = 0; row < 3 * kRows; ++row) {
      const int64_t head = row / (3 * kHeadSize), part = row / kHeadSize % 3, in_head = row % kHeadSize;
      for (int64_t i = 0; i < width; ++i) {
        EXPECT_EQ(disk[row * width + i], ((part * kHeads + head) * kHeadSize + in_head) * width + i);
      }
    }
  }
}

// As a ZeRO shard has them: from within a head to within another, or some columns of a row.
TEST(CheckpointStateTest, ABoxThatEndsWithinAHeadIsCutWhereHeadsEnd) {
  const Parameter keys = PartOf(1, false);
  std::vector<double> memory(40);
  std::iota(memory.begin(), memory.end(), 0.0);
  std::vector<TensorSlice> slices = SlicesOf(RowsOf(keys, 2, 7, 0, kWidth, 4), memory.data(), DType::kF64);
  ASSERT_EQ(slices.size(), 3u);
  EXPECT_EQ(slices[0].box, Box({{5, 6}, {0, 5}}));
  EXPECT_EQ(slices[1].box, Box({{12, 15}, {0, 5}}));
  EXPECT_EQ(slices[2].box, Box({{21, 22}, {0, 5}}));
  EXPECT_EQ(slices[1].data, memory.data() + 4 + kWidth);
  EXPECT_EQ(slices[2].data, memory.data() + 4 + 4 * kWidth);
  slices = SlicesOf(RowsOf(keys, 4, 5, 2, 4, 9), memory.data(), DType::kF64);
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_EQ(slices[0].box, Box({{13, 14}, {2, 4}}));
  EXPECT_EQ(slices[0].data, memory.data() + 9);
}

TEST(CheckpointStateTest, RowsThatLieTogetherAreOneSlice) {
  Parameter parameter = PartOf(0, false);
  parameter.disk_run = parameter.disk_stride = 0;
  parameter.disk_row = 7;
  std::vector<double> memory(kRows * kWidth);
  const std::vector<TensorSlice> slices =
      SlicesOf(RowsOf(parameter, 2, 9, 0, kWidth, 0), memory.data(), DType::kF64);
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_EQ(slices[0].box, Box({{9, 16}, {0, 5}}));
}

}  // namespace
}  // namespace trireme
