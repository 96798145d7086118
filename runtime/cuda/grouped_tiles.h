// Which tile of which expert a block multiplies, found on the device in the offsets of the experts' rows.
#ifndef TRIREME_RUNTIME_CUDA_GROUPED_TILES_H_
#define TRIREME_RUNTIME_CUDA_GROUPED_TILES_H_

#include <cstdint>

#include "runtime/cuda/gpu.h"

namespace trireme {

// Tiles of rows above each other that blocks take before they go on to the next column, so that the blocks
// that run at a time share a few rows of tiles and a few columns of them in the cache.
inline constexpr int64_t kTilesInBand = 8;

struct GroupedGrid {
  int64_t num_experts;
  int64_t row_tiles;  // of all experts at the most, or of each one's matrix where rows are summed over
  int64_t column_tiles;

  int64_t blocks(bool rows_are_tiled) const {
    return row_tiles * column_tiles * (rows_are_tiled ? 1 : num_experts);
  }
};

struct GroupedTile {
  bool exists;
  int64_t expert;
  int64_t first_row;  // of the expert's
  int64_t rows;       // of the expert
  int64_t row_tile;   // of the expert's
  int64_t column_tile;
};

// Block `index` among row_tiles x column_tiles, in bands.
struct BandTile {
  GPU_FN BandTile(int64_t index, int64_t row_tiles, int64_t column_tiles) {
    const int64_t of_band = kTilesInBand * column_tiles;
    const int64_t band = index / of_band, in_band = index - band * of_band;
    const int64_t height = Min(kTilesInBand, row_tiles - band * kTilesInBand);
    column = in_band / height;
    row = band * kTilesInBand + in_band - column * height;
  }
  int64_t row;
  int64_t column;
};

// The tile of kRows rows of one expert that is the block's. Whole warps: 32 experts at a time.
template <int kRows>
GPU_FN GroupedTile FindRowTile(const GroupedGrid& grid, const int32_t* offsets) {
  const BandTile block(blockIdx.x, grid.row_tiles, grid.column_tiles);
  int64_t before = 0;  // tiles of the experts before
  for (int64_t first = 0; first < grid.num_experts; first += kWarpSize) {
    const int64_t expert = first + LaneId();
    const bool is_one = expert < grid.num_experts;
    const int64_t begin = is_one ? offsets[expert] : 0, end = is_one ? offsets[expert + 1] : 0;
    const int64_t tiles = CeilDiv<int64_t>(end - begin, kRows);
    const int64_t behind = before + InclusiveWarpScan(tiles);
    const unsigned candidates = Ballot(block.row < behind);
    if (GPU_BRANCH(found, candidates != 0)) {
      const int lane = __ffs(static_cast<int>(candidates)) - 1;
      return {true,
              first + lane,
              Shuffle(begin, lane),
              Shuffle(end - begin, lane),
              block.row - Shuffle(behind - tiles, lane),
              block.column};
    }
    before = Shuffle(behind, kWarpSize - 1);
  }
  return {};
}

// The tile of an expert's matrix that is the block's: each expert has all of them.
GPU_FN GroupedTile FindExpertTile(const GroupedGrid& grid, const int32_t* offsets) {
  const int64_t of_expert = grid.row_tiles * grid.column_tiles;
  const int64_t expert = blockIdx.x / of_expert;
  const BandTile block(blockIdx.x - expert * of_expert, grid.row_tiles, grid.column_tiles);
  return {true, expert, offsets[expert], offsets[expert + 1] - offsets[expert], block.row, block.column};
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_GROUPED_TILES_H_
