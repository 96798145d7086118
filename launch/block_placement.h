// Which blocks of a model each chunk of a pipeline takes.
#ifndef TRIREME_LAUNCH_BLOCK_PLACEMENT_H_
#define TRIREME_LAUNCH_BLOCK_PLACEMENT_H_

#include <vector>

#include "runtime/program.h"

namespace trireme {

// [first, end).
struct BlockRange {
  int first = 0;
  int end = 0;
  int size() const { return end - first; }
  bool operator==(const BlockRange&) const = default;
};

// What the parts of a model cost, in one unit. All blocks cost the same.
struct ModelCosts {
  double embedding = 0;
  double block = 1;
  double head = 0;
};

// FLOPs of matrix products, forward and backward, of a whole model recorded as one chunk.
ModelCosts CostsOf(const Program& whole);

// One range for each position of the pipeline (PipelinePlace), each of at least one block, such that the
// costliest position, embedding and head counted, is as cheap as can be; of equal ways, the one that has more
// blocks in front. Needs num_blocks >= num_positions.
std::vector<BlockRange> PlaceBlocks(int num_blocks, int num_positions, const ModelCosts& costs);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_BLOCK_PLACEMENT_H_
