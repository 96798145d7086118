#include "checkpoint/extent.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstddef>
#include <random>

#include "absl/strings/str_cat.h"
#include "runtime/random.h"

namespace trireme {
namespace {

using Uint128 = unsigned __int128;
constexpr uint64_t kPrime = (uint64_t{1} << 61) - 1;

uint64_t MultiplyModPrime(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>(static_cast<Uint128>(a) * b % kPrime);
}

// A random measure of boxes: along each dim every coordinate has a random mark modulo a prime, the length of
// [begin, end) is mark(end) - mark(begin), and the measure of a box is the product of its lengths. It adds
// over disjoint boxes as the volume does. The measures of boxes add up to the whole's exactly if every
// element is covered once, but for a chance below 2^-58: else their difference is a nonzero polynomial of at
// most four factors in the marks (Schwartz-Zippel). The key is drawn anew each time, so that no file can be
// made to pass.
class RandomMeasure {
 public:
  RandomMeasure() {
    std::random_device device;
    for (RandomStream& stream : marks_) {
      stream = RandomStream((uint64_t{device()} << 32) | device(), uint64_t{device()});
    }
  }

  uint64_t Of(const Box& box) const {
    uint64_t measure = 1;
    for (int d = 0; d < box.num_dims; ++d) {
      const uint64_t length = Mark(d, box.end[d]) + kPrime - Mark(d, box.begin[d]);
      measure = MultiplyModPrime(measure, length % kPrime);
    }
    return measure;
  }

 private:
  uint64_t Mark(int dim, int64_t coordinate) const {
    const Philox4 words = marks_[dim].Words(static_cast<uint64_t>(coordinate));
    return ((uint64_t{words[0]} << 32) | words[1]) % kPrime;
  }

  std::array<RandomStream, Shape::kMaxDims> marks_ = {
      RandomStream(0, uint64_t{0}), RandomStream(0, uint64_t{0}), RandomStream(0, uint64_t{0}),
      RandomStream(0, uint64_t{0})};
};

// Why boxes that fail the test do: two that overlap, if they are among the first, else how many are missing.
absl::Status ExplainCover(const Shape& shape, absl::Span<const Box> boxes) {
  constexpr size_t kSearched = 4096;
  const size_t n = std::min(boxes.size(), kSearched);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (!Intersect(boxes[i], boxes[j]).empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("boxes ", boxes[j].ToString(), " and ", boxes[i].ToString(), " overlap"));
      }
    }
  }
  Uint128 covered = 0;
  for (const Box& box : boxes) covered += static_cast<Uint128>(box.volume());
  const auto whole = static_cast<Uint128>(shape.num_elements());
  if (covered >= whole) return absl::InvalidArgumentError("some elements are covered more than once");
  return absl::InvalidArgumentError(absl::StrCat(static_cast<uint64_t>(whole - covered), " of ",
                                                 shape.num_elements(), " elements are missing"));
}

void AppendRange(const Box& box, int dim, int64_t begin, int64_t end, std::vector<Box>* boxes) {
  if (begin == end) return;
  if (dim == box.num_dims || (begin == 0 && end == box.volume())) {
    boxes->push_back(box);
    return;
  }
  int64_t inner = 1;  // elements of one index of `dim`; outer dims have extent 1 here
  for (int d = dim + 1; d < box.num_dims; ++d) inner *= box.extent(d);
  const auto part = [&](int64_t first, int64_t last) {
    Box result = box;
    result.begin[dim] = box.begin[dim] + first;
    result.end[dim] = box.begin[dim] + last;
    return result;
  };
  const int64_t first_whole = (begin + inner - 1) / inner;
  const int64_t last_whole = end / inner;
  if (first_whole > last_whole) {  // within one index
    AppendRange(part(last_whole, first_whole), dim + 1, begin - last_whole * inner, end - last_whole * inner,
                boxes);
    return;
  }
  if (begin % inner != 0) {
    AppendRange(part(first_whole - 1, first_whole), dim + 1, begin % inner, inner, boxes);
  }
  if (first_whole < last_whole) boxes->push_back(part(first_whole, last_whole));
  AppendRange(part(last_whole, last_whole + 1), dim + 1, 0, end % inner, boxes);
}

}  // namespace

Box::Box(std::initializer_list<Range> ranges) {
  CHECK_LE(ranges.size(), static_cast<size_t>(Shape::kMaxDims));
  for (const Range& range : ranges) {
    begin[num_dims] = range.begin;
    end[num_dims] = range.end;
    ++num_dims;
  }
}

Shape Box::shape() const {
  Shape shape;
  for (int d = 0; d < num_dims; ++d) shape.Append(extent(d));
  return shape;
}

int64_t Box::volume() const {
  int64_t volume = 1;
  for (int d = 0; d < num_dims; ++d) volume *= std::max<int64_t>(extent(d), 0);
  return volume;
}

bool Box::operator==(const Box& other) const {
  if (num_dims != other.num_dims) return false;
  for (int d = 0; d < num_dims; ++d) {
    if (begin[d] != other.begin[d] || end[d] != other.end[d]) return false;
  }
  return true;
}

std::string Box::ToString() const {
  std::string text;
  for (int d = 0; d < num_dims; ++d) absl::StrAppend(&text, d == 0 ? "" : ",", begin[d], ":", end[d]);
  return text;
}

Box WholeBox(const Shape& shape) {
  Box box;
  box.num_dims = shape.num_dims();
  for (int d = 0; d < box.num_dims; ++d) box.end[d] = shape[d];
  return box;
}

Box Intersect(const Box& a, const Box& b) {
  CHECK_EQ(a.num_dims, b.num_dims);
  Box both;
  both.num_dims = a.num_dims;
  for (int d = 0; d < a.num_dims; ++d) {
    both.begin[d] = std::max(a.begin[d], b.begin[d]);
    both.end[d] = std::max(both.begin[d], std::min(a.end[d], b.end[d]));
  }
  return both;
}

bool Contains(const Box& outer, const Box& inner) {
  CHECK_EQ(outer.num_dims, inner.num_dims);
  for (int d = 0; d < outer.num_dims; ++d) {
    if (inner.begin[d] < outer.begin[d] || inner.end[d] > outer.end[d]) return false;
  }
  return true;
}

Box Transpose(const Box& box) {
  CHECK_EQ(box.num_dims, 2);
  return Box({{box.begin[1], box.end[1]}, {box.begin[0], box.end[0]}});
}

std::array<int64_t, Shape::kMaxDims> RowMajorStrides(const Box& box) {
  std::array<int64_t, Shape::kMaxDims> strides = {};
  int64_t stride = 1;
  for (int d = box.num_dims - 1; d >= 0; --d) {
    strides[d] = stride;
    stride *= box.extent(d);
  }
  return strides;
}

int64_t FlatOffset(const Box& outer, const Box& inner) {
  const auto strides = RowMajorStrides(outer);
  int64_t offset = 0;
  for (int d = 0; d < outer.num_dims; ++d) offset += (inner.begin[d] - outer.begin[d]) * strides[d];
  return offset;
}

std::vector<Box> BoxesOfRange(const Box& box, int64_t begin, int64_t end) {
  CHECK(0 <= begin && begin <= end && end <= box.volume())
      << "range [" << begin << ", " << end << ") of box " << box.ToString();
  std::vector<Box> boxes;
  AppendRange(box, 0, begin, end, &boxes);
  return boxes;
}

absl::Status CoversOnce(const Shape& shape, absl::Span<const Box> boxes) {
  const Box whole = WholeBox(shape);
  for (const Box& box : boxes) {
    if (box.num_dims != whole.num_dims || !Contains(whole, box)) {
      return absl::InvalidArgumentError(
          absl::StrCat("box ", box.ToString(), " is not within the shape ", shape.ToString()));
    }
  }
  const RandomMeasure measure;
  uint64_t sum = 0;
  for (const Box& box : boxes) {
    if (!box.empty()) sum = (sum + measure.Of(box)) % kPrime;
  }
  if (sum == (whole.empty() ? 0 : measure.Of(whole))) return absl::OkStatus();
  return ExplainCover(shape, boxes);
}

}  // namespace trireme
