// The named axes of the mesh of ranks. A mesh axis is not a tensor dimension (that is a dim).
#ifndef TRIREME_RUNTIME_AXIS_H_
#define TRIREME_RUNTIME_AXIS_H_

#include <array>

namespace trireme {

// Pipeline, data, context and tensor parallelism, outermost first: rank = ((pp * DP + dp) * CP + cp) * TP +
// tp.
enum class Axis { kPp, kDp, kCp, kTp };
inline constexpr int kNumAxes = 4;
inline constexpr std::array<Axis, kNumAxes> kAllAxes = {Axis::kPp, Axis::kDp, Axis::kCp, Axis::kTp};

constexpr const char* Name(Axis axis) {
  constexpr const char* kNames[] = {"pp", "dp", "cp", "tp"};
  return kNames[static_cast<int>(axis)];
}

// One number an axis: the sizes of a mesh, or the coordinate of a rank.
struct AxisSizes {
  std::array<int, kNumAxes> of = {1, 1, 1, 1};

  int operator[](Axis axis) const { return of[static_cast<int>(axis)]; }
  int& operator[](Axis axis) { return of[static_cast<int>(axis)]; }
  int product() const { return of[0] * of[1] * of[2] * of[3]; }
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_AXIS_H_
