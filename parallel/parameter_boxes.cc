#include "parallel/parameter_boxes.h"

#include <algorithm>

namespace trireme {
namespace {

// Elements [begin, end) of the group's local value, as boxes of its parts.
void AppendBoxes(const ParameterGroup& group, int64_t begin, int64_t end, int64_t offset,
                 const AxisSizes& coordinate, const AxisSizes& mesh, std::vector<ParameterBox>& boxes) {
  int64_t part_begin = 0;
  for (const Parameter& part : group.PartsAt(coordinate, mesh)) {
    const bool is_matrix = part.padded_shape.num_dims() == 2;
    int64_t local[2] = {part.padded_shape[0], is_matrix ? part.padded_shape[1] : 1};
    int64_t origin[2] = {0, 0};
    for (int d = 0; d < 2; ++d) {
      if (part.layout[Axis::kTp] != Shard(d)) continue;
      local[d] /= mesh[Axis::kTp];
      origin[d] = coordinate[Axis::kTp] * local[d];
    }
    const int64_t size = local[0] * local[1];
    int64_t at = std::max(begin, part_begin);
    const int64_t stop = std::min(end, part_begin + size);
    // A flat range is at most three boxes: the rest of a row, whole rows, the start of a row.
    while (at < stop) {
      const int64_t element = at - part_begin;
      const int64_t row = element / local[1], col = element % local[1];
      const bool whole_rows = col == 0 && stop - at >= local[1];
      const int64_t rows = whole_rows ? (stop - at) / local[1] : 1;
      const int64_t cols = whole_rows ? local[1] : std::min(local[1] - col, stop - at);
      ParameterBox box = {
          &part, is_matrix ? 2 : 1, {origin[0] + row, origin[1] + col}, {}, offset + at - begin};
      // Padding (rows beyond the global shape) is nobody's business.
      box.end[0] = std::min(origin[0] + row + rows, part.global_shape[0]);
      box.end[1] = box.begin[1] + cols;
      if (box.begin[0] < box.end[0]) boxes.push_back(box);
      at += rows * cols;
    }
    part_begin += size;
  }
}

}  // namespace

std::vector<ParameterBox> BoxesOf(const Program& chunk, const Bucket& bucket, int64_t begin, int64_t count,
                                  const AxisSizes& coordinate, const AxisSizes& mesh) {
  std::vector<ParameterBox> boxes;
  const int64_t end = begin + count;
  for (const Bucket::Member& member : bucket.members) {
    const ParameterGroup& group = chunk.parameters[member.group];
    const int64_t size = chunk.value(group.value).shape.num_elements();
    const int64_t from = std::max(begin, member.offset);
    const int64_t to = std::min(end, member.offset + size);
    if (from < to)
      AppendBoxes(group, from - member.offset, to - member.offset, from - begin, coordinate, mesh, boxes);
  }
  return boxes;
}

}  // namespace trireme
