#include "launch/block_placement.h"

#include <glog/logging.h>

#include <algorithm>

namespace trireme {

ModelCosts CostsOf(const Program& whole) {
  ModelCosts costs = {0, 0, 0};
  int num_blocks = 0;
  for (const Segment& segment : whole.segments) {
    double flops = 0;
    for (const Op& op : segment.ops) {
      if (!op.recomputed) flops += op.flops;
    }
    if (segment.name == "embedding") {
      costs.embedding += flops;
    } else if (segment.name == "head") {
      costs.head += flops;
    } else {
      costs.block += flops;
      num_blocks += segment.region == Region::kForward;
    }
  }
  CHECK_GT(num_blocks, 0);
  costs.block /= num_blocks;
  return costs;
}

std::vector<BlockRange> PlaceBlocks(int num_blocks, int num_positions, const ModelCosts& costs) {
  CHECK_GE(num_blocks, num_positions);
  std::vector<double> cost(num_positions, costs.block);
  std::vector<int> size(num_positions, 1);
  cost.front() += costs.embedding;
  cost.back() += costs.head;
  // As blocks cost the same, each in turn to the cheapest position makes the costliest as cheap as can be.
  for (int rest = num_blocks - num_positions; rest > 0; --rest) {
    const auto cheapest = std::min_element(cost.begin(), cost.end());
    *cheapest += costs.block;
    ++size[cheapest - cost.begin()];
  }
  std::vector<BlockRange> ranges;
  for (int first = 0; int blocks : size) {
    ranges.push_back({first, first + blocks});
    first += blocks;
  }
  return ranges;
}

}  // namespace trireme
