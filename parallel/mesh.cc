#include "parallel/mesh.h"

#include <glog/logging.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "parallel/self_communicator.h"

namespace trireme {
namespace {

std::string Describe(const AxisSizes& values) {
  std::string text;
  for (Axis axis : kAllAxes) absl::StrAppend(&text, text.empty() ? "" : ", ", Name(axis), " ", values[axis]);
  return text;
}

// Ranks with the same number differ only in their coordinates on `axes`.
int GroupNumber(AxisSizes coordinate, const AxisSizes& sizes, AxisSet axes) {
  for (Axis axis : kAllAxes) {
    if (axes.Contains(axis)) coordinate[axis] = 0;
  }
  return RankOf(coordinate, sizes);
}

}  // namespace

AxisSizes CoordinateOf(int rank, const AxisSizes& sizes) {
  AxisSizes coordinate;
  for (int i = kNumAxes - 1; i >= 0; --i) {
    coordinate.of[i] = rank % sizes.of[i];
    rank /= sizes.of[i];
  }
  return coordinate;
}

int RankOf(const AxisSizes& coordinate, const AxisSizes& sizes) {
  int rank = 0;
  for (int i = 0; i < kNumAxes; ++i) rank = rank * sizes.of[i] + coordinate.of[i];
  return rank;
}

absl::StatusOr<std::unique_ptr<Mesh>> Mesh::Create(Communicator& world, const AxisSizes& sizes) {
  int64_t product = 1;
  for (Axis axis : kAllAxes) {
    if (sizes[axis] < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("mesh.", Name(axis), " is ", sizes[axis], "; an axis has a size of at least 1"));
    }
    product *= sizes[axis];
  }
  if (product != world.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the mesh (", Describe(sizes), ") has ", product,
                                                   " ranks, and ", world.size(),
                                                   " were started; change mesh.* or the number of ranks"));
  }
  return std::unique_ptr<Mesh>(new Mesh(world, sizes));
}

Mesh::Mesh(Communicator& world, const AxisSizes& sizes)
    : world_(world), sizes_(sizes), coordinate_(CoordinateOf(world.rank(), sizes)) {
  const AxisSet whole = WithoutTrivialAxes(kEveryAxis);
  along_[0] = std::make_unique<SelfCommunicator>();
  for (unsigned bits = 1; bits < AxisSet::kNumSets; ++bits) {
    const AxisSet axes = AxisSet::FromBits(bits);
    if (axes == WithoutTrivialAxes(axes) && axes != whole) {
      along_[bits] = world_.Split(GroupNumber(coordinate_, sizes_, axes), world_.rank());
    }
  }
  if (sizes_[Axis::kPp] > 1) ConnectStages();
}

AxisSet Mesh::WithoutTrivialAxes(AxisSet axes) const {
  unsigned bits = 0;
  for (Axis axis : kAllAxes) {
    if (axes.Contains(axis) && sizes_[axis] > 1) bits |= AxisSet(axis).bits();
  }
  return AxisSet::FromBits(bits);
}

Communicator& Mesh::along(AxisSet axes) const {
  const AxisSet set = WithoutTrivialAxes(axes);
  const std::unique_ptr<Communicator>& found = along_[set.bits()];
  return found != nullptr ? *found : world_;
}

// Every boundary between two stages gets a pair of ranks for each direction. A rank belongs to two
// boundaries, so the even ones are split off first, then the odd ones.
void Mesh::ConnectStages() {
  const int stage = coordinate_[Axis::kPp];
  const int last = sizes_[Axis::kPp] - 1;
  const int others = world_.size() / sizes_[Axis::kPp];
  const int line = GroupNumber(coordinate_, sizes_, AxisSet(Axis::kPp));
  for (int parity = 0; parity < 2; ++parity) {
    const bool is_earlier = stage % 2 == parity;
    const int boundary = is_earlier ? stage : stage - 1;
    const int color = boundary < 0 || boundary >= last ? -1 : boundary * others + line;
    std::unique_ptr<Communicator> activations = world_.Split(color, stage);
    std::unique_ptr<Communicator> gradients = world_.Split(color, stage);
    if (color < 0) continue;
    if (is_earlier) {
      activation_to_next_ = {activations.get(), 1};
      gradient_from_next_ = {gradients.get(), 1};
    } else {
      activation_from_previous_ = {activations.get(), 0};
      gradient_to_previous_ = {gradients.get(), 0};
    }
    pairs_.push_back(std::move(activations));
    pairs_.push_back(std::move(gradients));
  }
  embedding_homes_ = world_.Split(stage == 0 || stage == last ? line : -1, stage);
}

std::string Mesh::ToString() const {
  return absl::StrCat(Describe(sizes_), ": rank ", world_.rank(), " at ", Describe(coordinate_));
}

}  // namespace trireme
