// Offsets for blocks of memory that share what they do not need at the same time.
#ifndef TRIREME_RUNTIME_PASSES_ASSIGN_OFFSETS_H_
#define TRIREME_RUNTIME_PASSES_ASSIGN_OFFSETS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

namespace trireme {

// Sets the `offset` of every block of `bytes` such that no two that meet overlap: the largest first, each
// into the lowest gap that fits. `meets(a, b)`: whether two blocks are in use at one time. Returns the bytes
// in all.
template <typename Block, typename Meets>
int64_t AssignOffsets(std::vector<Block*> blocks, Meets meets) {
  std::stable_sort(blocks.begin(), blocks.end(),
                   [](const Block* a, const Block* b) { return a->bytes > b->bytes; });
  std::vector<const Block*> placed;  // by offset
  int64_t total = 0;
  for (Block* block : blocks) {
    int64_t offset = 0;
    for (const Block* other : placed) {
      if (!meets(*other, *block)) continue;
      if (offset + block->bytes <= other->offset) break;
      offset = std::max(offset, other->offset + other->bytes);
    }
    block->offset = offset;
    total = std::max(total, offset + block->bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), block,
                                   [](const Block* a, const Block* b) { return a->offset < b->offset; }),
                  block);
  }
  return total;
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PASSES_ASSIGN_OFFSETS_H_
