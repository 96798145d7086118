#include "parallel/mesh.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "parallel/thread_communicator.h"

namespace trireme {
namespace {

AxisSizes Sizes(int pp, int dp, int cp, int tp) {
  return {{pp, dp, cp, tp}};
}

constexpr AxisSizes kMeshes[] = {{{1, 1, 1, 1}}, {{1, 2, 1, 1}}, {{2, 2, 1, 2}}, {{2, 3, 1, 2}},
                                 {{3, 1, 2, 1}}, {{2, 2, 2, 2}}, {{4, 1, 1, 2}}, {{8, 1, 1, 1}}};

void OnMesh(const AxisSizes& sizes, const std::function<void(Mesh&)>& body) {
  RunThreadRanks(sizes.product(),
                 [&](Communicator& world) {
                   absl::StatusOr<std::unique_ptr<Mesh>> mesh = Mesh::Create(world, sizes);
                   ASSERT_TRUE(mesh.ok()) << mesh.status();
                   body(**mesh);
                 },
                 {.rendezvous_sends = true});
}

std::vector<int32_t> WorldRanksOf(const Mesh& mesh, Communicator& group) {
  const int32_t mine = mesh.world().rank();
  std::vector<int32_t> ranks(group.size());
  group.AllGather(&mine, ranks.data(), 1, DType::kI32);
  return ranks;
}

TEST(MeshTest, RanksAreNumberedWithTpInnermost) {
  const AxisSizes sizes = Sizes(2, 3, 4, 5);
  EXPECT_EQ(RankOf(Sizes(1, 2, 3, 4), sizes), ((1 * 3 + 2) * 4 + 3) * 5 + 4);
  for (int rank = 0; rank < sizes.product(); ++rank)
    EXPECT_EQ(RankOf(CoordinateOf(rank, sizes), sizes), rank);
}

TEST(MeshTest, EverySetOfAxesGroupsTheRanksThatDifferOnlyThere) {
  for (const AxisSizes& sizes : kMeshes) {
    OnMesh(sizes, [&](Mesh& mesh) {
      for (unsigned bits = 0; bits <= kEveryAxis.bits(); ++bits) {
        const AxisSet axes = AxisSet::FromBits(bits);
        std::vector<int32_t> expected;
        for (int rank = 0; rank < sizes.product(); ++rank) {
          const AxisSizes other = CoordinateOf(rank, sizes);
          bool belongs = true;
          for (Axis axis : kAllAxes) belongs &= axes.Contains(axis) || other[axis] == mesh.coordinate()[axis];
          if (belongs) expected.push_back(rank);
        }
        EXPECT_EQ(WorldRanksOf(mesh, mesh.along(axes)), expected)
            << mesh.ToString() << " along " << Name(axes);
      }
    });
  }
}

TEST(MeshTest, ExpertRanksFoldReplicas) {
  AxisSizes sizes = Sizes(1, 2, 3, 2);
  for (int ep : {2, 3, 6}) {
    sizes[Axis::kEp] = ep;
    OnMesh(sizes, [&](Mesh& mesh) {
      const int rank = mesh.world().rank(), replica = rank / 2, tp = rank % 2;
      std::vector<int32_t> of_ep, of_edp;
      for (int i = 0; i < ep; ++i) of_ep.push_back((replica / ep * ep + i) * 2 + tp);
      for (int i = 0; i < 6 / ep; ++i) of_edp.push_back((i * ep + replica % ep) * 2 + tp);
      EXPECT_EQ(WorldRanksOf(mesh, mesh.along(Axis::kEp)), of_ep);
      EXPECT_EQ(WorldRanksOf(mesh, mesh.along(Axis::kEdp)), of_edp);
      for (Axis axis : {Axis::kEp, Axis::kEdp}) {
        EXPECT_EQ(mesh.along(axis).rank(), CoordinateAlong(axis, mesh.coordinate(), sizes));
        EXPECT_EQ(mesh.along(axis).rank(), RankAlong(AxisSet(axis), mesh.coordinate(), sizes));
      }
    });
  }
}

TEST(MeshTest, ASingleAxisIsRankedByItsCoordinate) {
  OnMesh(Sizes(2, 2, 1, 2), [](Mesh& mesh) {
    for (Axis axis : kAllAxes) {
      EXPECT_EQ(mesh.along(axis).size(), mesh.sizes()[axis]);
      EXPECT_EQ(mesh.along(axis).rank(), mesh.coordinate()[axis]);
    }
  });
}

TEST(MeshTest, AxesOfSizeOneNeedNoCommunicatorOfTheirOwn) {
  OnMesh(Sizes(1, 2, 1, 2), [](Mesh& mesh) {
    EXPECT_EQ(&mesh.along({Axis::kDp, Axis::kCp}), &mesh.along(Axis::kDp));
    EXPECT_EQ(&mesh.along({Axis::kDp, Axis::kTp}), &mesh.world());
    EXPECT_EQ(&mesh.along(kEveryAxis), &mesh.world());
    EXPECT_EQ(mesh.along(Axis::kPp).size(), 1);
  });
}

// Who is at the other end of the four channels: every rank sends its world rank.
std::vector<int32_t> Neighbours(Mesh& mesh, bool turned) {
  const int32_t mine = mesh.world().rank();
  std::vector<int32_t> found(2, -1);
  std::vector<std::pair<Communicator*, Communicator::Ticket>> under_way;
  for (PipelineChannel channel : {mesh.activation_to_next(turned), mesh.gradient_to_previous(turned)}) {
    if (channel.communicator == nullptr) continue;
    under_way.emplace_back(channel.communicator,
                           channel.communicator->StartSend(&mine, 1, DType::kI32, channel.peer));
  }
  int i = 0;
  for (PipelineChannel channel : {mesh.activation_from_previous(turned), mesh.gradient_from_next(turned)}) {
    int32_t& into = found[i++];
    if (channel.communicator == nullptr) continue;
    under_way.emplace_back(channel.communicator,
                           channel.communicator->StartReceive(&into, 1, DType::kI32, channel.peer));
  }
  for (auto& [communicator, ticket] : under_way) communicator->Wait(ticket);
  return found;
}

TEST(MeshTest, ARingAndAVLinkTheStagesThatChunksNeed) {
  for (int pp : {1, 2, 3, 4, 5}) {
    RunThreadRanks(pp * 2, [&](Communicator& world) {
      const auto ring = Mesh::Create(world, Sizes(pp, 2, 1, 1), StageLinks::kRing);
      const int stage = world.rank() / 2, other = world.rank() % 2;
      const auto rank_of = [&](int s) { return s < 0 || s >= pp ? -1 : s * 2 + other; };
      const std::vector<int32_t> around = {rank_of((stage + pp - 1) % pp), rank_of((stage + 1) % pp)};
      EXPECT_EQ(Neighbours(**ring, false), pp == 1 ? (std::vector<int32_t>{-1, -1}) : around);
      const auto v = Mesh::Create(world, Sizes(pp, 2, 1, 1), StageLinks::kBothWays);
      EXPECT_EQ(Neighbours(**v, false), (std::vector<int32_t>{rank_of(stage - 1), rank_of(stage + 1)}));
      EXPECT_EQ(Neighbours(**v, true), (std::vector<int32_t>{rank_of(stage + 1), rank_of(stage - 1)}));
    });
  }
}

TEST(MeshTest, ActivationsReachTheNextStageAndGradientsThePrevious) {
  for (const AxisSizes& sizes : kMeshes) {
    OnMesh(sizes, [&](Mesh& mesh) {
      const int32_t mine = mesh.world().rank();
      int32_t activation = -1, gradient = -1;
      std::vector<std::pair<Communicator*, Communicator::Ticket>> under_way;
      const auto send = [&](PipelineChannel channel) {
        if (channel.communicator == nullptr) return;
        under_way.emplace_back(channel.communicator,
                               channel.communicator->StartSend(&mine, 1, DType::kI32, channel.peer));
      };
      const auto receive = [&](PipelineChannel channel, int32_t& into) {
        if (channel.communicator == nullptr) return;
        under_way.emplace_back(channel.communicator,
                               channel.communicator->StartReceive(&into, 1, DType::kI32, channel.peer));
      };
      send(mesh.activation_to_next());
      send(mesh.gradient_to_previous());
      receive(mesh.activation_from_previous(), activation);
      receive(mesh.gradient_from_next(), gradient);
      for (auto [communicator, ticket] : under_way) communicator->Wait(ticket);
      const int stride = sizes.product() / sizes[Axis::kPp];
      const int stage = mesh.coordinate()[Axis::kPp];
      EXPECT_EQ(activation, stage == 0 ? -1 : mine - stride);
      EXPECT_EQ(gradient, stage == sizes[Axis::kPp] - 1 ? -1 : mine + stride);
    });
  }
}

TEST(MeshTest, EachDirectionOfEachBoundaryHasItsOwnCommunicator) {
  OnMesh(Sizes(3, 1, 1, 1), [](Mesh& mesh) {
    if (mesh.coordinate()[Axis::kPp] != 1) return;
    const std::vector<Communicator*> all = {
        mesh.activation_from_previous().communicator, mesh.activation_to_next().communicator,
        mesh.gradient_from_next().communicator, mesh.gradient_to_previous().communicator};
    for (size_t i = 0; i < all.size(); ++i) {
      for (size_t j = 0; j < i; ++j) EXPECT_NE(all[i], all[j]);
    }
  });
}

TEST(MeshTest, FirstAndLastStageShareTheTiedEmbedding) {
  for (const AxisSizes& sizes : kMeshes) {
    OnMesh(sizes, [&](Mesh& mesh) {
      const int stage = mesh.coordinate()[Axis::kPp], last = sizes[Axis::kPp] - 1;
      const bool is_home = last > 0 && (stage == 0 || stage == last);
      ASSERT_EQ(mesh.embedding_homes() != nullptr, is_home);
      if (!is_home) return;
      AxisSizes first = mesh.coordinate(), other = mesh.coordinate();
      first[Axis::kPp] = 0;
      other[Axis::kPp] = last;
      EXPECT_EQ(WorldRanksOf(mesh, *mesh.embedding_homes()),
                (std::vector<int32_t>{RankOf(first, sizes), RankOf(other, sizes)}));
    });
  }
}

TEST(MeshTest, AMeshOfAnotherNumberOfRanksIsRefused) {
  RunThreadRanks(2, [](Communicator& world) {
    const auto mesh = Mesh::Create(world, Sizes(1, 2, 1, 2));
    ASSERT_FALSE(mesh.ok());
    EXPECT_EQ(
        mesh.status().message(),
        "the mesh (pp 1, dp 2, cp 1, tp 2) has 4 ranks, and 2 were started; change mesh.* or the number of "
        "ranks");
    EXPECT_EQ(Mesh::Create(world, Sizes(1, 2, 0, 1)).status().message(),
              "mesh.cp is 0; an axis has a size of at least 1");
  });
}

}  // namespace
}  // namespace trireme
