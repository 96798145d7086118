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
  const int ep = sizes[Axis::kEp];
  int replica = coordinate[Axis::kDp] * sizes[Axis::kCp] + coordinate[Axis::kCp];
  if (axes.Contains(Axis::kEp)) replica -= replica % ep;
  if (axes.Contains(Axis::kEdp)) replica %= ep;
  coordinate[Axis::kDp] = replica / sizes[Axis::kCp];
  coordinate[Axis::kCp] = replica % sizes[Axis::kCp];
  return RankOf(coordinate, sizes);
}

}  // namespace

StageLinks LinksOf(const PipelinePlace& place) {
  if (place.num_chunks == 1) return StageLinks::kLine;
  return place.turns ? StageLinks::kBothWays : StageLinks::kRing;
}

AxisSizes CoordinateOf(int rank, const AxisSizes& sizes) {
  AxisSizes coordinate;
  for (int i = kNumMeshAxes - 1; i >= 0; --i) {
    coordinate.of[i] = rank % sizes.of[i];
    rank /= sizes.of[i];
  }
  return coordinate;
}

int RankOf(const AxisSizes& coordinate, const AxisSizes& sizes) {
  int rank = 0;
  for (int i = 0; i < kNumMeshAxes; ++i) rank = rank * sizes.of[i] + coordinate.of[i];
  return rank;
}

absl::StatusOr<std::unique_ptr<Mesh>> Mesh::Create(Communicator& world, const AxisSizes& sizes,
                                                   StageLinks links) {
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
  const int replicas = sizes[Axis::kDp] * sizes[Axis::kCp];
  if (sizes[Axis::kEp] < 1 || replicas % sizes[Axis::kEp] != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("mesh.ep is ", sizes[Axis::kEp], ", which does not divide dp x cp, ", replicas));
  }
  return std::unique_ptr<Mesh>(new Mesh(world, sizes, links));
}

Mesh::Mesh(Communicator& world, const AxisSizes& sizes, StageLinks links)
    : world_(world), sizes_(sizes), coordinate_(CoordinateOf(world.rank(), sizes)) {
  const AxisSet whole = WithoutTrivialAxes(kEveryAxis);
  along_[0] = std::make_unique<SelfCommunicator>();
  const auto split = [this](AxisSet axes) {
    along_[axes.bits()] = world_.Split(GroupNumber(coordinate_, sizes_, axes), world_.rank());
  };
  for (unsigned bits = 1; bits <= kEveryAxis.bits(); ++bits) {
    const AxisSet axes = AxisSet::FromBits(bits);
    if (axes == WithoutTrivialAxes(axes) && axes != whole) split(axes);
  }
  if (sizes_[Axis::kEp] > 1) {
    split(AxisSet(Axis::kEp));
    if (sizes_[Axis::kEdp] > 1) split(AxisSet(Axis::kEdp));
  }
  if (sizes_[Axis::kPp] > 1) ConnectStages(links);
}

AxisSet Mesh::WithoutTrivialAxes(AxisSet axes) const {
  unsigned bits = 0;
  for (Axis axis : kAxesOfBothFoldings) {
    if (axes.Contains(axis) && sizes_[axis] > 1) bits |= AxisSet(axis).bits();
  }
  return AxisSet::FromBits(bits);
}

Communicator& Mesh::along(AxisSet axes) const {
  const AxisSet set = WithoutTrivialAxes(axes);
  const std::unique_ptr<Communicator>& found = along_[set.bits()];
  if (found != nullptr) return *found;
  CHECK(set == WithoutTrivialAxes(kEveryAxis)) << "no communicator along " << Name(set);
  return world_;
}

// Every boundary between two stages gets a pair of ranks for each direction. A rank belongs to two
// boundaries, so the even ones are split off first, then the odd ones, then that between the last stage and
// the first.
void Mesh::ConnectStages(StageLinks links) {
  const int num_stages = sizes_[Axis::kPp], stage = coordinate_[Axis::kPp];
  for (int round = 0; round < 2; ++round) {
    Connect(round, false, num_stages - 1);
    if (links == StageLinks::kBothWays) Connect(round, true, num_stages - 1);
  }
  if (links == StageLinks::kRing) Connect(2, false, num_stages);
  const int line = GroupNumber(coordinate_, sizes_, AxisSet(Axis::kPp));
  embedding_homes_ = world_.Split(stage == 0 || stage == num_stages - 1 ? line : -1, stage);
}

// Boundary b lies between stage b and the next. Rounds 0 and 1: the even and the odd ones; round 2: the last
// of num_boundaries.
void Mesh::Connect(int round, bool turned, int num_boundaries) {
  const int num_stages = sizes_[Axis::kPp], stage = coordinate_[Axis::kPp];
  const int line = GroupNumber(coordinate_, sizes_, AxisSet(Axis::kPp));
  const auto is_of_round = [&](int boundary) {
    if (boundary < 0 || boundary >= num_boundaries) return false;
    return round == 2 ? boundary == num_boundaries - 1 : boundary % 2 == round;
  };
  const int behind = stage, before = (stage + num_stages - 1) % num_stages;
  const bool is_earlier = is_of_round(behind), is_later = is_of_round(before);
  const int boundary = is_earlier ? behind : before;
  const int color = is_earlier || is_later ? boundary * (world_.size() / num_stages) + line : -1;
  // Rank 0 is where activations come from.
  const bool is_upstream = is_earlier != turned;
  std::unique_ptr<Communicator> activations = world_.Split(color, is_upstream ? 0 : 1);
  std::unique_ptr<Communicator> gradients = world_.Split(color, is_upstream ? 0 : 1);
  if (color < 0) return;
  const int peer = is_upstream ? 1 : 0;
  (is_upstream ? downstream_ : upstream_)[turned] = {{activations.get(), peer}, {gradients.get(), peer}};
  pairs_.push_back(std::move(activations));
  pairs_.push_back(std::move(gradients));
}

std::string Mesh::ToString() const {
  return absl::StrCat(Describe(sizes_), ": rank ", world_.rank(), " at ", Describe(coordinate_));
}

}  // namespace trireme
