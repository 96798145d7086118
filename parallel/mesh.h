// The mesh: axis sizes, my coordinate, and a communicator along every set of axes.
#ifndef TRIREME_PARALLEL_MESH_H_
#define TRIREME_PARALLEL_MESH_H_

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "parallel/axis_set.h"
#include "parallel/schedule.h"
#include "runtime/axis.h"
#include "runtime/communicator.h"

namespace trireme {

// rank = ((pp * DP + dp) * CP + cp) * TP + tp. These need no communicator: a plan can be drawn for any rank
// anywhere.
AxisSizes CoordinateOf(int rank, const AxisSizes& sizes);
int RankOf(const AxisSizes& coordinate, const AxisSizes& sizes);

// One direction between two neighbouring stages: the communicator that nothing else uses, and who is at the
// other end. Without a neighbour, the communicator is null.
struct PipelineChannel {
  Communicator* communicator = nullptr;
  int peer = -1;  // rank in `communicator`
};

// Which stages exchange activations: each with the next; the last with the first too, where stages hold
// several chunks; or each with the next in both directions, where odd chunks run backwards
// (PipelinePlace::turns).
enum class StageLinks { kLine, kRing, kBothWays };
StageLinks LinksOf(const PipelinePlace& place);

// Not thread-safe, as its communicators are not. `world` must outlive it.
class Mesh {
 public:
  // Collective over `world`. Refuses sizes below 1, and sizes whose product is not the number of ranks.
  static absl::StatusOr<std::unique_ptr<Mesh>> Create(Communicator& world, const AxisSizes& sizes,
                                                      StageLinks links = StageLinks::kLine);

  const AxisSizes& sizes() const { return sizes_; }
  const AxisSizes& coordinate() const { return coordinate_; }
  Communicator& world() const { return world_; }

  // The ranks that differ from this one only in their coordinates on `axes`, ordered as in the world. Sets
  // that differ only by axes of size 1 share one communicator; where all have size 1 it is a group of one.
  // `axes`: any of pp, dp, cp and tp; or ep alone, or edp alone.
  Communicator& along(AxisSet axes) const;
  Communicator& along(Axis axis) const { return along(AxisSet(axis)); }

  // Activations travel to the next stage (on a ring: from the last to the first), their gradients back.
  // `turned`: of chunks that run from the last stage to the first, whose next stage is the one before.
  PipelineChannel activation_from_previous(bool turned = false) const {
    return upstream_[turned].activations;
  }
  PipelineChannel activation_to_next(bool turned = false) const { return downstream_[turned].activations; }
  PipelineChannel gradient_from_next(bool turned = false) const { return downstream_[turned].gradients; }
  PipelineChannel gradient_to_previous(bool turned = false) const { return upstream_[turned].gradients; }

  // The first stage (rank 0) and the last (rank 1), which both hold a tied embedding; null on the stages
  // between and where there is but one stage.
  Communicator* embedding_homes() const { return embedding_homes_.get(); }

  // "pp 2, dp 1, cp 1, tp 4: rank 5 at pp 1, dp 0, cp 0, tp 1".
  std::string ToString() const;

 private:
  Mesh(Communicator& world, const AxisSizes& sizes, StageLinks links);

  // What a boundary between two stages has.
  struct Link {
    PipelineChannel activations;
    PipelineChannel gradients;
  };

  void ConnectStages(StageLinks links);
  void Connect(int round, bool turned, int num_boundaries);
  AxisSet WithoutTrivialAxes(AxisSet axes) const;

  Communicator& world_;
  const AxisSizes sizes_;
  const AxisSizes coordinate_;
  // By the bits of the set; only of sets without axes of size 1, and none for the set that is the whole
  // world.
  std::array<std::unique_ptr<Communicator>, AxisSet::kNumSets> along_;
  std::vector<std::unique_ptr<Communicator>> pairs_;  // behind the channels
  // By whether for turned chunks.
  std::array<Link, 2> upstream_;
  std::array<Link, 2> downstream_;
  std::unique_ptr<Communicator> embedding_homes_;
};

}  // namespace trireme

#endif  // TRIREME_PARALLEL_MESH_H_
