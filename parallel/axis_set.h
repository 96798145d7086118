#ifndef TRIREME_PARALLEL_AXIS_SET_H_
#define TRIREME_PARALLEL_AXIS_SET_H_

#include <initializer_list>
#include <string>

#include "runtime/axis.h"

namespace trireme {

// A set of mesh axes, all of one folding.
class AxisSet {
 public:
  constexpr AxisSet() = default;
  constexpr explicit AxisSet(Axis axis) : bits_(1u << static_cast<int>(axis)) {}
  constexpr AxisSet(std::initializer_list<Axis> axes) {
    for (Axis axis : axes) bits_ |= 1u << static_cast<int>(axis);
  }

  constexpr bool Contains(Axis axis) const { return (bits_ >> static_cast<int>(axis)) & 1u; }
  constexpr unsigned bits() const { return bits_; }
  constexpr bool operator==(const AxisSet&) const = default;

  static constexpr AxisSet FromBits(unsigned bits) {
    AxisSet set;
    set.bits_ = bits;
    return set;
  }
  static constexpr int kNumSets = 1 << kNumAxes;

 private:
  unsigned bits_ = 0;
};

inline constexpr AxisSet kEveryAxis = {Axis::kPp, Axis::kDp, Axis::kCp, Axis::kTp};

// "dp,cp"; "" for the empty set.
std::string Name(AxisSet axes);

// The ranks of a group along `axes` on a mesh of `sizes`.
int NumRanks(AxisSet axes, const AxisSizes& sizes);
// The place of the rank at `coordinate` in its group along `axes`: outer axes first, as Mesh::along orders
// them.
int RankAlong(AxisSet axes, const AxisSizes& coordinate, const AxisSizes& sizes);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_AXIS_SET_H_
