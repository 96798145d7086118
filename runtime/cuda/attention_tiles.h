// Tiles of heads in shared memory, and products of them by mma.sync: what the tensor-core kernels of
// attention are made of.
//
// A warp owns 16 * kRowTiles rows of its block's resident tiles and loops over all columns of the streamed
// ones. Accumulators are [kRowTiles][columns / 8][4], in MmaBf16's layout of c: element e of tile (m, n) is
// row 16 m + 8 (e / 2) + lane / 4 and column 8 n + 2 (lane % 4) + e % 2 of the warp's rows.
#ifndef TRIREME_RUNTIME_CUDA_ATTENTION_TILES_H_
#define TRIREME_RUNTIME_CUDA_ATTENTION_TILES_H_

#include "runtime/cuda/attention_operands.h"
#include "runtime/cuda/gpu.h"

namespace trireme {

// Elements that are copied at a time, 16 bytes: head sizes are multiples of it.
inline constexpr int kChunk = kVectorSize<bf16>;

// Elements from a row of a tile to the next. 16 bytes of padding put the eight rows of an 8x8 matrix into
// different banks, for every kHead that is a multiple of 16.
template <int kHead>
inline constexpr int kTileStride = kHead + kChunk;

template <int kRowTiles, int kColumns>
using Accumulator = float[kRowTiles][kColumns / 8][4];

// The row of element e of row tile m, and the column of element e of column tile n, of this lane.
GPU_FN int RowOf(int m, int e) {
  return 16 * m + 8 * (e / 2) + LaneId() / 4;
}
GPU_FN int ColumnOf(int n, int e) {
  return 8 * n + 2 * (LaneId() % 4) + e % 2;
}

// Bytes from the start of a tile.
template <int kHead>
GPU_FN SharedAddress OperandOffset(int row, int column) {
  return static_cast<SharedAddress>((row * kTileStride<kHead> + column) * static_cast<int>(sizeof(bf16)));
}

// Where the rows of one head lie in global memory.
struct HeadRows {
  const bf16* data;  // of token 0
  int64_t stride;
  int head_size;
};

// Starts to copy rows [first, first + kRows) of a head into a tile. Rows from `end` on and columns behind
// the head become zero. The block takes part.
template <int kRows, int kHead, int kThreads>
GPU_FN void StartTile(bf16* tile, const HeadRows& head, int first, int end) {
  constexpr int kChunks = kHead / kChunk;
  constexpr int kStep = kThreads / kChunks;  // rows at a time; a few threads are idle where it is not even
  const int row = static_cast<int>(threadIdx.x) / kChunks;
  const int column = static_cast<int>(threadIdx.x) % kChunks * kChunk;
  const bf16* source = head.data + static_cast<int64_t>(first + row) * head.stride + column;
  const int valid_rows = column < head.head_size ? end - first : 0;
  const SharedAddress target = SharedAddressOf(tile) + OperandOffset<kHead>(row, column);
#pragma unroll
  for (int i = 0; i < kRows; i += kStep) {
    if ((kRows % kStep != 0 || kThreads % kChunks != 0) && (row >= kStep || i + row >= kRows)) break;
    CpAsync16(target + OperandOffset<kHead>(i, 0), source, i + row < valid_rows);
    source += kStep * head.stride;
  }
}

// This lane's address for LdMatrix of the left operand from row `row` of a tile on, and for LdMatrixTrans
// of a right operand that lies [k][column].
template <int kHead>
GPU_FN SharedAddress RowOperand(const bf16* tile, int row = 0) {
  return SharedAddressOf(tile + (row + LaneId() % 16) * kTileStride<kHead> + 8 * (LaneId() / 16));
}
// The same for LdMatrix of a right operand that lies [column][k].
template <int kHead>
GPU_FN SharedAddress ColumnOperand(const bf16* tile) {
  return SharedAddressOf(tile + (LaneId() % 8 + 8 * (LaneId() / 16)) * kTileStride<kHead> +
                         8 * (LaneId() / 8 % 2));
}
// c = a b^T: a is the warp's rows of a tile (RowOperand), b all of one (ColumnOperand); the sum is over the
// head.
template <int kHead, int kRowTiles, int kColumnTiles>
GPU_FN void ProductOverHead(float (&c)[kRowTiles][kColumnTiles][4], SharedAddress a, SharedAddress b) {
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) c[m][n][0] = c[m][n][1] = c[m][n][2] = c[m][n][3] = 0;
  }
#pragma unroll
  for (int k = 0; k < kHead; k += 16) {
    uint32_t left[kRowTiles][4];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) LdMatrix(left[m], a + OperandOffset<kHead>(16 * m, k));
#pragma unroll
    for (int n = 0; n < kColumnTiles; n += 2) {
      uint32_t right[4];
      LdMatrix(right, b + OperandOffset<kHead>(8 * n, k));
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        MmaBf16(c[m][n], left[m], right[0], right[1]);
        MmaBf16(c[m][n + 1], left[m], right[2], right[3]);
      }
    }
  }
}

// c += w b: w is the warp's rows in registers, rounded to bf16; b a tile whose rows are w's columns
// (RowOperand). An accumulator's layout of c is MmaBf16's layout of a.
template <int kHead, int kRowTiles, int kColumnTiles>
GPU_FN void AddProductOverRows(float (&c)[kRowTiles][kHead / 8][4],
                               const float (&w)[kRowTiles][kColumnTiles][4], SharedAddress b) {
#pragma unroll
  for (int k = 0; k < kColumnTiles; k += 2) {
    uint32_t left[kRowTiles][4];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      left[m][0] = PackBf16(w[m][k][0], w[m][k][1]);
      left[m][1] = PackBf16(w[m][k][2], w[m][k][3]);
      left[m][2] = PackBf16(w[m][k + 1][0], w[m][k + 1][1]);
      left[m][3] = PackBf16(w[m][k + 1][2], w[m][k + 1][3]);
    }
#pragma unroll
    for (int n = 0; n < kHead / 8; n += 2) {
      uint32_t right[4];
      LdMatrixTrans(right, b + OperandOffset<kHead>(8 * k, 8 * n));
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        MmaBf16(c[m][n], left[m], right[0], right[1]);
        MmaBf16(c[m][n + 1], left[m], right[2], right[3]);
      }
    }
  }
}

// Writes the warp's rows, times factor[row tile][row half], to rows [first, end) of a head in global memory.
// They go through the warp's own rows of a tile that nobody reads any more, so that whole 16 bytes are
// stored.
template <int kHead, int kRowTiles>
GPU_FN void StoreRows(const float (&c)[kRowTiles][kHead / 8][4], const float (&factor)[kRowTiles][2],
                      bf16* rows, bf16* head, int64_t stride, int head_size, int first, int end) {
  __syncwarp();  // all lanes have read their matrices
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < kHead / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        const float f = factor[m][e / 2];
        bf16* target = rows + RowOf(m, e) * kTileStride<kHead> + ColumnOf(n, e);
        *reinterpret_cast<uint32_t*>(target) = PackBf16(c[m][n][e] * f, c[m][n][e + 1] * f);
      }
    }
  }
  __syncwarp();
  constexpr int kChunks = kHead / kChunk;
  for (int i = LaneId(); i < 16 * kRowTiles * kChunks; i += kWarpSize) {
    const int row = i / kChunks;
    const int column = i % kChunks * kChunk;
    if (first + row < end && column < head_size) {
      Store(head + (first + row) * stride + column, Load<kChunk>(rows + row * kTileStride<kHead> + column));
    }
  }
}

// The queries [first, last] of a warp, and their lo in shared memory; last is -1 where there are none.
template <int kRowTiles>
struct WarpQueries {
  GPU_FN WarpQueries(const int* shared_lo, int first_query, int num_queries)
      : lo(shared_lo), first(first_query), last(num_queries > 0 ? first_query + num_queries - 1 : -1) {}

  // Of keys [begin, end): whether any query sees any of them, and whether all see all.
  GPU_FN bool SeeAny(int begin, int end) const { return begin <= last && end > lo[0]; }
  GPU_FN bool SeeAll(int begin, int end) const { return end - 1 <= first && begin >= lo[last - first]; }

  // Hides the scores of keys from `begin` on that a query does not see.
  template <int kColumnTiles>
  GPU_FN void Mask(float (&scores)[kRowTiles][kColumnTiles][4], int begin) const {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = RowOf(m, 2 * half);
#pragma unroll
        for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            if (!Sees(first + row, lo[row], begin + ColumnOf(n, e))) scores[m][n][e] = kNegativeInfinity;
          }
        }
      }
    }
  }

  const int* lo;
  int first, last;
};

// Calls f with the width of tile for heads of this size, as a std::integral_constant.
template <typename F>
void ForTileHead(int head_size, F f) {
  if (head_size <= 64) {
    f(std::integral_constant<int, 64>());
  } else if (head_size <= 96) {
    f(std::integral_constant<int, 96>());
  } else {
    f(std::integral_constant<int, 128>());
  }
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_ATTENTION_TILES_H_
