// Boxes: where a piece of a tensor lies in the tensor's global extent.
#ifndef TRIREME_CHECKPOINT_EXTENT_H_
#define TRIREME_CHECKPOINT_EXTENT_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/shape.h"

namespace trireme {

// The half-open interval [begin, end) along each dim, outermost first. No dims: the box of a scalar,
// volume 1.
struct Box {
  struct Range {
    int64_t begin = 0;
    int64_t end = 0;
  };

  int num_dims = 0;
  std::array<int64_t, Shape::kMaxDims> begin = {};
  std::array<int64_t, Shape::kMaxDims> end = {};

  Box() = default;
  // More than Shape::kMaxDims ranges is a bug, and aborts.
  Box(std::initializer_list<Range> ranges);

  int64_t extent(int dim) const { return end[dim] - begin[dim]; }
  Shape shape() const;
  // 0 if the box is empty along any dim.
  int64_t volume() const;
  bool empty() const { return volume() == 0; }

  bool operator==(const Box& other) const;
  bool operator!=(const Box& other) const { return !(*this == other); }

  // "0:4,8:16"; "" for a scalar.
  std::string ToString() const;
};

Box WholeBox(const Shape& shape);

// Both boxes have the same number of dims, as everywhere below.
Box Intersect(const Box& a, const Box& b);
bool Contains(const Box& outer, const Box& inner);
// The box of the transposed matrix. Two dims only.
Box Transpose(const Box& box);

// Elements between neighbours along each dim where `box` is stored row-major.
std::array<int64_t, Shape::kMaxDims> RowMajorStrides(const Box& box);
// The place of inner's first element in the row-major order of `outer`, which contains it.
int64_t FlatOffset(const Box& outer, const Box& inner);

// The elements [begin, end) of the row-major order of `box`, 0 <= begin <= end <= volume, as boxes: the
// fewest, at most 2 x dims - 1, disjoint, in that order, and each one contiguous in it.
std::vector<Box> BoxesOfRange(const Box& box, int64_t begin, int64_t end);

// Whether every element of a tensor lies in exactly one of the boxes. The error (InvalidArgument) names an
// element count or two boxes. Takes time linear in the number of boxes where they do cover it.
absl::Status CoversOnce(const Shape& shape, absl::Span<const Box> boxes);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_EXTENT_H_
