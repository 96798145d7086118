#include "parallel/axis_set.h"

#include "absl/strings/str_cat.h"

namespace trireme {

std::string Name(AxisSet axes) {
  std::string name;
  for (Axis axis : kAxesOfBothFoldings) {
    if (axes.Contains(axis)) absl::StrAppend(&name, name.empty() ? "" : ",", Name(axis));
  }
  return name;
}

int NumRanks(AxisSet axes, const AxisSizes& sizes) {
  int product = 1;
  for (Axis axis : kAxesOfBothFoldings) {
    if (axes.Contains(axis)) product *= sizes[axis];
  }
  return product;
}

int RankAlong(AxisSet axes, const AxisSizes& coordinate, const AxisSizes& sizes) {
  int rank = 0;
  for (Axis axis : kAxesOfBothFoldings) {
    if (axes.Contains(axis)) rank = rank * sizes[axis] + CoordinateAlong(axis, coordinate, sizes);
  }
  return rank;
}

}  // namespace trireme
