#include "launch/block_placement.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace trireme {
namespace {

using Ranges = std::vector<BlockRange>;

TEST(BlockPlacementTest, EqualStagesShareTheBlocksAndTheFirstTakeTheRest) {
  EXPECT_EQ(PlaceBlocks(4, 2, {}), (Ranges{{0, 2}, {2, 4}}));
  EXPECT_EQ(PlaceBlocks(8, 3, {}), (Ranges{{0, 3}, {3, 6}, {6, 8}}));
}

TEST(BlockPlacementTest, TheStageOfAHeavyHeadHasFewerBlocks) {
  EXPECT_EQ(PlaceBlocks(8, 2, {0, 1, 2}), (Ranges{{0, 5}, {5, 8}}));
  EXPECT_EQ(PlaceBlocks(16, 4, {0, 1, 3}), (Ranges{{0, 5}, {5, 10}, {10, 15}, {15, 16}}));
  EXPECT_EQ(PlaceBlocks(6, 3, {0, 1, 100}), (Ranges{{0, 3}, {3, 5}, {5, 6}})) << "at least one";
}

TEST(BlockPlacementTest, AHeavyEmbeddingTakesBlocksOffTheFirstStage) {
  EXPECT_EQ(PlaceBlocks(8, 2, {2, 1, 0}), (Ranges{{0, 3}, {3, 8}}));
}

// The costliest position of the best of all ways to cut, found by trying them all.
double BestOfAll(int num_blocks, int num_positions, const ModelCosts& costs, bool is_first) {
  if (num_positions == 1) return num_blocks * costs.block + costs.head + (is_first ? costs.embedding : 0);
  double best = 1e30;
  for (int here = 1; here <= num_blocks - num_positions + 1; ++here) {
    best = std::min(best, std::max(here * costs.block + (is_first ? costs.embedding : 0),
                                   BestOfAll(num_blocks - here, num_positions - 1, costs, false)));
  }
  return best;
}

TEST(BlockPlacementTest, NoOtherWayIsCheaper) {
  for (int positions : {1, 2, 3, 4}) {
    for (int blocks : {4, 5, 8, 11}) {
      for (const ModelCosts& costs : {ModelCosts{0, 1, 0}, {0.4, 1, 2.6}, {3, 2, 1}, {0, 1, 7.5}}) {
        double costliest = 0;
        const Ranges ranges = PlaceBlocks(blocks, positions, costs);
        for (int i = 0; i < positions; ++i) {
          costliest = std::max(costliest, ranges[i].size() * costs.block + (i == 0 ? costs.embedding : 0) +
                                              (i == positions - 1 ? costs.head : 0));
        }
        EXPECT_DOUBLE_EQ(costliest, BestOfAll(blocks, positions, costs, true)) << positions << " " << blocks;
      }
    }
  }
}

}  // namespace
}  // namespace trireme
