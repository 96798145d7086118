// Products of rows with the matrix of their expert (ops/grouped_linear.h), one launch for all experts.
// Nothing comes to the host: the grid has as many tiles as R rows of E experts can need, R / 128 + E times
// those of a column, and a block finds its expert and tile in the offsets, or that it has none. Floor: 2 R N
// K operations.
//
// bf16 multiplies by mma.sync from a ring of tiles that cp.async fills; f32 by fused multiply-adds, without
// TF32. Sums over k are in fp32 and in the order of k, of which no block has a part only.
#include <glog/logging.h>

#include <algorithm>

#include "runtime/cuda/gpu.h"
#include "runtime/cuda/grouped_tiles.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/parts.h"

namespace trireme {
namespace {

// c [m, n] = a [m, k] b [k, n] of one expert. kAlongK: the operand's rows are m or n, so that neighbours in
// memory follow each other along k; else its rows are k.
enum class Lies { kAlongK, kAcrossK };

// Which of the three products, hence how the operands lie and which extent the offsets give.
template <Lies kLeft, Lies kRight>
struct Product {
  static constexpr Lies kA = kLeft;
  static constexpr Lies kB = kRight;
  static constexpr bool kByWeights = kLeft == Lies::kAlongK;  // rows are m, else they are k
};
using Forward = Product<Lies::kAlongK, Lies::kAlongK>;
using InputGrad = Product<Lies::kAlongK, Lies::kAcrossK>;
using WeightGrad = Product<Lies::kAcrossK, Lies::kAcrossK>;

// m (by weights) or k (gradients of weights) is how many rows the expert has, whatever stands here.
struct Extents {
  int64_t m;
  int64_t n;
  int64_t k;
};

// The part of the operands that a block multiplies.
template <typename T, typename To>
struct Problem {
  const T* a;
  const T* b;
  To* c;
  Extents extents;
  int64_t first_row;  // of c's tile
  int64_t first_column;
  bool exists;
};

template <typename P, int kTile, typename T, typename To>
GPU_FN Problem<T, To> ProblemOf(const GroupedGrid& grid, const Extents& whole, const int32_t* offsets,
                                const T* a, const T* b, To* c) {
  const GroupedTile tile = P::kByWeights ? FindRowTile<kTile>(grid, offsets) : FindExpertTile(grid, offsets);
  Problem<T, To> problem = {a, b, c, whole, tile.row_tile * kTile, tile.column_tile * kTile, tile.exists};
  if constexpr (P::kByWeights) {
    problem.extents.m = tile.rows;
    problem.a += tile.first_row * whole.k;
    problem.b += tile.expert * whole.n * whole.k;
    problem.c += tile.first_row * whole.n;
  } else {
    problem.extents.k = tile.rows;
    problem.a += tile.first_row * whole.m;
    problem.b += tile.first_row * whole.n;
    problem.c += tile.expert * whole.m * whole.n;
  }
  return problem;
}

// ---- bf16 ----

constexpr int kTile = 128;  // rows and columns of a block's tile
constexpr int kDepth = 32;  // of k, a stage
constexpr int kStages = 4;
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarpSize;
constexpr int kWarpRows = 64;  // of a warp's tile: two warps above each other, four beside each other
constexpr int kWarpColumns = 32;
constexpr int kChunk = kVectorSize<bf16>;

// A stage of an operand in shared memory. 16 bytes of padding put the rows of an 8x8 matrix into different
// banks.
template <Lies kLies>
struct Stage {
  static constexpr int kRows = kLies == Lies::kAlongK ? kTile : kDepth;
  static constexpr int kColumns = kLies == Lies::kAlongK ? kDepth : kTile;
  static constexpr int kStride = kColumns + kChunk;
  static constexpr int kElements = kRows * kStride;

  // This lane's address for the 16 x 16 elements from (i, k) on, i along m or n; the registers come out in
  // the order of MmaBf16's a if kLeft, else as b0 and b1 of columns i to i + 7, then of i + 8 to i + 15.
  template <bool kLeft>
  static GPU_FN void Fetch(uint32_t (&registers)[4], const bf16* stage, int i, int k) {
    const int low = LaneId() % 8, middle = 8 * (LaneId() / 8 % 2), high = 8 * (LaneId() / 16);
    const int in_i = i + low * (kLies == Lies::kAlongK ? 1 : 0) + (kLeft ? middle : high);
    const int in_k = k + low * (kLies == Lies::kAlongK ? 0 : 1) + (kLeft ? high : middle);
    if constexpr (kLies == Lies::kAlongK) {
      LdMatrix(registers, SharedAddressOf(stage + in_i * kStride + in_k));
    } else {
      LdMatrixTrans(registers, SharedAddressOf(stage + in_k * kStride + in_i));
    }
  }

  // Starts to copy the stage that begins at (i, k) of an operand of i_end by k_end elements; what lies
  // outside becomes zero. The block takes part.
  template <bool kAligned>
  static GPU_FN void Start(bf16* stage, const bf16* operand, int64_t i, int64_t k, int64_t i_end,
                           int64_t k_end) {
    constexpr int kChunks = kColumns / kChunk;
    constexpr int kStep = kThreads / kChunks;
    static_assert(kRows % kStep == 0);
    const int chunk = static_cast<int>(threadIdx.x) % kChunks * kChunk;
    const int64_t column = (kLies == Lies::kAlongK ? k : i) + chunk;
    const int64_t columns = kLies == Lies::kAlongK ? k_end : i_end;
    const int64_t rows = kLies == Lies::kAlongK ? i_end : k_end;
#pragma unroll
    for (int r = static_cast<int>(threadIdx.x) / kChunks; r < kRows; r += kStep) {
      const int64_t row = (kLies == Lies::kAlongK ? i : k) + r;
      const bool exists = row < rows && column < columns;
      const bf16* source = operand + (exists ? row * columns + column : 0);
      bf16* target = stage + r * kStride + chunk;
      if constexpr (kAligned) {
        CpAsync16(target, source, exists);
      } else {
        Store(target, LoadElements<kChunk>(source, exists ? columns - column : 0));
      }
    }
  }
};

// Element pairs of c's rows, from registers; to is aligned for pairs if kAligned.
template <bool kAligned>
GPU_FN void StorePair(float* to, float first, float second, int64_t count, bool accumulate) {
  Vec<float, 2> pair = {{first, second}};
  if (accumulate) {
    const Vec<float, 2> before = LoadPart<kAligned, 2>(static_cast<const float*>(to), count);
    pair[0] += before[0];
    pair[1] += before[1];
  }
  StorePart<kAligned>(to, pair, count);
}
template <bool kAligned>
GPU_FN void StorePair(bf16* to, float first, float second, int64_t count, bool) {
  StorePart<kAligned>(to, FromFloat<bf16>(Vec<float, 2>{{first, second}}), count);
}

template <typename P, bool kAligned, typename To>
GPU_KERNEL(kThreads, 2)
GroupedMmaKernel(GroupedGrid grid, Extents whole, bool accumulate, const int32_t* offsets, const bf16* a,
                 const bf16* b, To* c) {
  using A = Stage<P::kA>;
  using B = Stage<P::kB>;
  DSMEM(bf16, shared);
  const Problem<bf16, To> problem = ProblemOf<P, kTile>(grid, whole, offsets, a, b, c);
  const Extents& extents = problem.extents;
  if (GPU_BRANCH(no_rows, !problem.exists || (accumulate && extents.k == 0))) return;
  const auto stage_a = [&](int64_t s) { return shared + s % kStages * (A::kElements + B::kElements); };
  const int64_t steps = CeilDiv<int64_t>(extents.k, kDepth);
  const auto start = [&](int64_t s) {
    if (s < steps) {
      A::template Start<kAligned>(stage_a(s), problem.a, problem.first_row, s * kDepth, extents.m, extents.k);
      B::template Start<kAligned>(stage_a(s) + A::kElements, problem.b, problem.first_column, s * kDepth,
                                  extents.n, extents.k);
    }
    CpAsyncCommit();
  };
  const int warp_row = WarpId() % 2 * kWarpRows, warp_column = WarpId() / 2 * kWarpColumns;
  float sums[kWarpRows / 16][kWarpColumns / 8][4] = {};
  for (int s = 0; s < kStages - 1; ++s) start(s);
  for (int64_t s = 0; s < steps; ++s) {
    CpAsyncWait<kStages - 2>();
    __syncthreads();  // this stage is there, and all have read the one before, into which the next copy goes
    start(s + kStages - 1);
#pragma unroll
    for (int k = 0; k < kDepth; k += 16) {
      uint32_t left[kWarpRows / 16][4];
#pragma unroll
      for (int m = 0; m < kWarpRows / 16; ++m) {
        A::template Fetch<true>(left[m], stage_a(s), warp_row + 16 * m, k);
      }
#pragma unroll
      for (int n = 0; n < kWarpColumns / 8; n += 2) {
        uint32_t right[4];
        B::template Fetch<false>(right, stage_a(s) + A::kElements, warp_column + 8 * n, k);
#pragma unroll
        for (int m = 0; m < kWarpRows / 16; ++m) {
          MmaBf16(sums[m][n], left[m], right[0], right[1]);
          MmaBf16(sums[m][n + 1], left[m], right[2], right[3]);
        }
      }
    }
  }
#pragma unroll
  for (int m = 0; m < kWarpRows / 16; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t row = problem.first_row + warp_row + 16 * m + 8 * half + LaneId() / 4;
      if (GPU_BRANCH(behind_the_last_row, row >= extents.m)) continue;
#pragma unroll
      for (int n = 0; n < kWarpColumns / 8; ++n) {
        const int64_t column = problem.first_column + warp_column + 8 * n + 2 * (LaneId() % 4);
        StorePair<kAligned>(problem.c + row * extents.n + column, sums[m][n][2 * half],
                            sums[m][n][2 * half + 1], extents.n - column, accumulate);
      }
    }
  }
}

// ---- f32 ----

constexpr int kFloatTile = 64;
constexpr int kFloatDepth = 16;
constexpr int kFloatThreads = 256;
constexpr int kOfThread = 4;                  // rows and columns
constexpr int kFloatStride = kFloatTile + 4;  // whole vectors; neighbours along k in different banks

// Copies the part of an operand that begins at (i, k) into tile[k][i]; what lies outside becomes zero.
template <Lies kLies>
GPU_FN void FillTile(float (*tile)[kFloatStride], const float* operand, int64_t i, int64_t k, int64_t i_end,
                     int64_t k_end) {
#pragma unroll
  for (int at = static_cast<int>(threadIdx.x); at < kFloatTile * kFloatDepth; at += kFloatThreads) {
    const int in_i = kLies == Lies::kAlongK ? at / kFloatDepth : at % kFloatTile;
    const int in_k = kLies == Lies::kAlongK ? at % kFloatDepth : at / kFloatTile;
    const bool exists = i + in_i < i_end && k + in_k < k_end;
    const int64_t index =
        kLies == Lies::kAlongK ? (i + in_i) * k_end + k + in_k : (k + in_k) * i_end + i + in_i;
    tile[in_k][in_i] = exists ? operand[index] : 0.0f;
  }
}

template <typename P>
GPU_KERNEL(kFloatThreads)
GroupedFloatKernel(GroupedGrid grid, Extents whole, bool accumulate, const int32_t* offsets, const float* a,
                   const float* b, float* c) {
  SMEM(float, left, [kFloatDepth][kFloatStride]);
  SMEM(float, right, [kFloatDepth][kFloatStride]);
  const Problem<float, float> problem = ProblemOf<P, kFloatTile>(grid, whole, offsets, a, b, c);
  const Extents& extents = problem.extents;
  if (GPU_BRANCH(no_rows, !problem.exists || (accumulate && extents.k == 0))) return;
  const int own_row = static_cast<int>(threadIdx.x) / (kFloatTile / kOfThread) * kOfThread;
  const int own_column = static_cast<int>(threadIdx.x) % (kFloatTile / kOfThread) * kOfThread;
  float sums[kOfThread][kOfThread] = {};
  for (int64_t k = 0; k < extents.k; k += kFloatDepth) {
    __syncthreads();  // all have read the tiles before
    FillTile<P::kA>(left, problem.a, problem.first_row, k, extents.m, extents.k);
    FillTile<P::kB>(right, problem.b, problem.first_column, k, extents.n, extents.k);
    __syncthreads();
#pragma unroll
    for (int in_k = 0; in_k < kFloatDepth; ++in_k) {
      const Vec<float, kOfThread> x = Load<kOfThread>(&left[in_k][own_row]);
      const Vec<float, kOfThread> y = Load<kOfThread>(&right[in_k][own_column]);
#pragma unroll
      for (int i = 0; i < kOfThread; ++i) {
#pragma unroll
        for (int j = 0; j < kOfThread; ++j) sums[i][j] += x[i] * y[j];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kOfThread; ++i) {
    const int64_t row = problem.first_row + own_row + i;
#pragma unroll
    for (int j = 0; j < kOfThread; ++j) {
      const int64_t column = problem.first_column + own_column + j;
      if (row >= extents.m || column >= extents.n) continue;
      float* to = problem.c + row * extents.n + column;
      *to = accumulate ? *to + sums[i][j] : sums[i][j];
    }
  }
}

// ---- launches ----

GroupedGrid GridFor(const Extents& extents, bool by_weights, int64_t num_experts, int64_t tile) {
  const int64_t row_tiles =
      by_weights ? extents.m / tile + std::min(num_experts, extents.m) : CeilDiv(extents.m, tile);
  return {num_experts, row_tiles, CeilDiv(extents.n, tile)};
}

template <typename P, typename To>
void LaunchMma(const KernelArguments& a, const Extents& extents, int64_t num_experts, const View& c) {
  const GroupedGrid grid = GridFor(extents, P::kByWeights, num_experts, kTile);
  const bf16* left = a.inputs[0].as<bf16>();
  const bf16* right = a.inputs[1].as<bf16>();
  const bool aligned = IsVectorAligned(left, a.inputs[0].shape.cols()) &&
                       IsVectorAligned(right, a.inputs[1].shape.cols()) &&
                       IsVectorAligned(c.as<To>(), extents.n);
  constexpr size_t kBytes = kStages * (Stage<P::kA>::kElements + Stage<P::kB>::kElements) * sizeof(bf16);
  const auto kernel = aligned ? GroupedMmaKernel<P, true, To> : GroupedMmaKernel<P, false, To>;
  GPU_LAUNCH(kernel, GridOf(grid.blocks(P::kByWeights)), kThreads, kBytes, a.stream, grid, extents,
             P::kByWeights ? false : a.accumulate, a.inputs[2].as<const int32_t>(), left, right, c.as<To>());
}

template <typename P>
void LaunchProduct(const KernelArguments& a, const Extents& extents) {
  const int64_t num_experts = a.inputs[2].shape[0] - 1;
  const View& c = a.outputs[0];
  if (a.inputs[0].dtype == DType::kBF16) {
    LaunchMma<P, std::conditional_t<P::kByWeights, bf16, float>>(a, extents, num_experts, c);
    return;
  }
  const GroupedGrid grid = GridFor(extents, P::kByWeights, num_experts, kFloatTile);
  GPU_LAUNCH(GroupedFloatKernel<P>, GridOf(grid.blocks(P::kByWeights)), kFloatThreads, 0, a.stream, grid,
             extents, P::kByWeights ? false : a.accumulate, a.inputs[2].as<const int32_t>(),
             WideOf(a.inputs[0]), WideOf(a.inputs[1]), WideOf(c));
}

}  // namespace

void GroupedLinearCuda(const KernelArguments& a) {
  const Shape& x = a.inputs[0].shape;
  LaunchProduct<Forward>(a, {x[0], a.outputs[0].shape[1], x[1]});
}

void GroupedLinearInputGradCuda(const KernelArguments& a) {
  const Shape& dy = a.inputs[0].shape;
  LaunchProduct<InputGrad>(a, {dy[0], a.outputs[0].shape[1], dy[1]});
}

void GroupedLinearWeightGradCuda(const KernelArguments& a) {
  LaunchProduct<WeightGrad>(a, {a.inputs[0].shape[1], a.inputs[1].shape[1], a.inputs[0].shape[0]});
}

}  // namespace trireme
