// The named axes of the mesh of ranks. A mesh axis is not a tensor dimension (that is a dim).
#ifndef TRIREME_RUNTIME_AXIS_H_
#define TRIREME_RUNTIME_AXIS_H_

#include <algorithm>
#include <array>

namespace trireme {

// Pipeline, data, context and tensor parallelism, outermost first: rank = ((pp * DP + dp) * CP + cp) * TP +
// tp. Expert parallelism folds dp x cp in another way, into edp x ep with ep innermost: dp * CP + cp = edp *
// EP + ep.
enum class Axis { kPp, kDp, kCp, kTp, kEdp, kEp };
inline constexpr int kNumAxes = 6;
// Those that make a rank's coordinate.
inline constexpr int kNumMeshAxes = 4;
inline constexpr std::array<Axis, kNumMeshAxes> kAllAxes = {Axis::kPp, Axis::kDp, Axis::kCp, Axis::kTp};
// All of them, the outermost of each folding first.
inline constexpr std::array<Axis, kNumAxes> kAxesOfBothFoldings = {Axis::kPp,  Axis::kDp, Axis::kCp,
                                                                   Axis::kEdp, Axis::kEp, Axis::kTp};

constexpr const char* Name(Axis axis) {
  constexpr const char* kNames[] = {"pp", "dp", "cp", "tp", "edp", "ep"};
  return kNames[static_cast<int>(axis)];
}

// One number an axis: the sizes of a mesh, or the coordinate of a rank (CoordinateAlong has its ep and edp).
struct AxisSizes {
  std::array<int, kNumMeshAxes> of = {1, 1, 1, 1};
  int ep = 1;  // of sizes: a divisor of dp * cp

  constexpr int operator[](Axis axis) const {
    if (axis == Axis::kEp) return ep;
    // Of coordinates ep may be 0; they have no edp of their own.
    if (axis == Axis::kEdp) return (*this)[Axis::kDp] * (*this)[Axis::kCp] / std::max(ep, 1);
    return of[static_cast<int>(axis)];
  }
  // edp follows from the others, and cannot be set.
  constexpr int& operator[](Axis axis) { return axis == Axis::kEp ? ep : of[static_cast<int>(axis)]; }
  constexpr int product() const { return of[0] * of[1] * of[2] * of[3]; }
};

// The coordinate on any axis of the rank at `coordinate` of a mesh of `sizes`.
constexpr int CoordinateAlong(Axis axis, const AxisSizes& coordinate, const AxisSizes& sizes) {
  const int replica = coordinate[Axis::kDp] * sizes[Axis::kCp] + coordinate[Axis::kCp];
  if (axis == Axis::kEdp) return replica / sizes[Axis::kEp];
  if (axis == Axis::kEp) return replica % sizes[Axis::kEp];
  return coordinate[axis];
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_AXIS_H_
