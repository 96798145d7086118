// Attention forward with tensor cores: bf16, by mma.sync, ldmatrix and cp.async (sm_80 and later).
//
// A block has one query head and kQueries queries, a warp 32 of them; it loops over the keys that they see,
// kKeys at a time. Keys and values take turns: while the scores are computed the values are on their way,
// and during softmax and weighted sum the next keys. One buffer each then suffices, and two blocks fit on a
// multiprocessor.
#include "runtime/cuda/attention.h"
#include "runtime/cuda/attention_operands.h"
#include "runtime/cuda/attention_tiles.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"

namespace trireme {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarpSize;
constexpr int kRowTiles = 2;
constexpr int kWarpQueries = 16 * kRowTiles;
constexpr int kQueries = kWarps * kWarpQueries;
// A head of 128 leaves registers for the scores of 32 keys.
template <int kHead>
constexpr int kKeys = kHead <= 96 ? 64 : 32;

template <int kHead>
constexpr size_t kSharedBytes =
    (kQueries + 2 * kKeys<kHead>)*kTileStride<kHead> * sizeof(bf16) + kQueries * sizeof(int);

// Of the rows of a lane: RowOf(m, 2 * half).
using RowValues = float[kRowTiles][2];

// Turns scores into weights 2^(scale (score - maximum)); brings maximum, sum and out up to date. The sum is
// of this lane's columns only.
template <int kHeadTiles, int kColumnTiles>
GPU_FN void Softmax(float (&scores)[kRowTiles][kColumnTiles][4], float scale, RowValues& maximum,
                    RowValues& sum, float (&out)[kRowTiles][kHeadTiles][4]) {
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float highest = maximum[m][half];
#pragma unroll
      for (int n = 0; n < kColumnTiles; ++n) {
        highest = fmaxf(highest, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
      }
      highest = WarpMax<4>(highest);
      // A row that saw no key so far has weights of zero, not of 2^(-inf + inf).
      const float subtracted = highest == kNegativeInfinity ? 0.0f : highest * scale;
      const float correction = FastExp2(maximum[m][half] * scale - subtracted);
      maximum[m][half] = highest;
      float added = 0;
#pragma unroll
      for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          scores[m][n][e] = FastExp2(fmaf(scores[m][n][e], scale, -subtracted));
          added += scores[m][n][e];
        }
      }
      sum[m][half] = fmaf(sum[m][half], correction, added);
#pragma unroll
      for (int n = 0; n < kHeadTiles; ++n) {
        out[m][n][2 * half] *= correction;
        out[m][n][2 * half + 1] *= correction;
      }
    }
  }
}

// scale_log2: scale times log2(e). Blocks of the last queries come first: most often they see the most keys.
//   qkv [T, (H + 2K) A]   lo [T]   out [T, H A]   lse [T, H]
template <int kHead>
GPU_KERNEL(kThreads)
AttentionForward(AttentionHeads heads, float scale_log2, const bf16* __restrict__ qkv,
                 const int* __restrict__ lo, bf16* __restrict__ out, float* __restrict__ lse) {
  constexpr int kStep = kKeys<kHead>;
  DSMEM(bf16, query_tile);
  bf16* const key_tile = query_tile + kQueries * kTileStride<kHead>;
  bf16* const value_tile = key_tile + kStep * kTileStride<kHead>;
  int* const query_lo = reinterpret_cast<int*>(value_tile + kStep * kTileStride<kHead>);
  const int head = static_cast<int>(blockIdx.x) % heads.query_heads;
  const int tile = CeilDiv(heads.tokens, kQueries) - 1 - static_cast<int>(blockIdx.x) / heads.query_heads;
  const int begin = tile * kQueries;
  const int end = Min(begin + kQueries, heads.tokens);
  const int key_head = head / heads.group();
  const HeadRows queries = {qkv + heads.QueryColumn(head), heads.columns(), heads.head_size};
  const HeadRows keys = {qkv + heads.KeyColumn(key_head), heads.columns(), heads.head_size};
  const HeadRows values = {qkv + heads.ValueColumn(key_head), heads.columns(), heads.head_size};
  const int first_key = lo[begin];
  StartTile<kQueries, kHead, kThreads>(query_tile, queries, begin, end);
  StartTile<kStep, kHead, kThreads>(key_tile, keys, first_key, end);
  CpAsyncCommit();

  // The shuffle tells the compiler that the number is the same in all lanes: it costs no register then.
  const int warp_row = Shuffle(WarpId(), 0) * kWarpQueries;
  static_assert(kThreads == kQueries);
  query_lo[threadIdx.x] = lo[Min(begin + static_cast<int>(threadIdx.x), end - 1)];
  const WarpQueries<kRowTiles> warp(query_lo + warp_row, begin + warp_row,
                                    Min(kWarpQueries, end - begin - warp_row));
  const SharedAddress query_operand = RowOperand<kHead>(query_tile, warp_row);
  const SharedAddress key_operand = ColumnOperand<kHead>(key_tile);
  const SharedAddress value_operand = RowOperand<kHead>(value_tile);
  Accumulator<kRowTiles, kHead> sums = {};
  RowValues maximum, sum;
#pragma unroll
  for (int i = 0; i < 2 * kRowTiles; ++i) {
    maximum[i / 2][i % 2] = kNegativeInfinity;
    sum[i / 2][i % 2] = 0;
  }
  for (int k = first_key; k < end; k += kStep) {
    Accumulator<kRowTiles, kStep> scores;
    CpAsyncWait<0>();
    __syncthreads();  // the keys are there, and all warps have read the values before these
    StartTile<kStep, kHead, kThreads>(value_tile, values, k, end);
    CpAsyncCommit();
    const bool sees = GPU_BRANCH(sees, warp.SeeAny(k, k + kStep));
    if (sees) {
      ProductOverHead<kHead>(scores, query_operand, key_operand);
      if (GPU_BRANCH(masked, !warp.SeeAll(k, k + kStep))) warp.Mask(scores, k);
    }
    CpAsyncWait<0>();
    __syncthreads();  // the values are there, and all warps have read the keys
    if (GPU_BRANCH(more_keys, k + kStep < end))
      StartTile<kStep, kHead, kThreads>(key_tile, keys, k + kStep, end);
    CpAsyncCommit();
    if (sees) {
      Softmax(scores, scale_log2, maximum, sum, sums);
      AddProductOverRows<kHead>(sums, scores, value_operand);
    }
  }

  RowValues factor;
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = WarpSum<4>(sum[m][half]);
      factor[m][half] = 1.0f / total;
      const int64_t row = warp.first + RowOf(m, 2 * half);
      if (LaneId() % 4 == 0 && row < end) {
        lse[row * heads.query_heads + head] = fmaf(maximum[m][half], scale_log2 / kLog2E, logf(total));
      }
    }
  }
  StoreRows<kHead>(sums, factor, query_tile + warp_row * kTileStride<kHead>, out + heads.QueryColumn(head),
                   heads.out_columns(), heads.head_size, warp.first, end);
}

}  // namespace

void AttentionTensorCores(const KernelArguments& a) {
  CHECK_EQ(a.inputs.size(), 2) << "slopes";
  const AttentionHeads heads(a.op, a.inputs[0]);
  ForTileHead(heads.head_size, [&](auto size) {
    constexpr int kHead = decltype(size)::value;
    GPU_LAUNCH(AttentionForward<kHead>, GridOf(int64_t{CeilDiv(heads.tokens, kQueries)} * heads.query_heads),
               kThreads, kSharedBytes<kHead>, a.stream, heads, heads.scale() * kLog2E, a.inputs[0].as<bf16>(),
               a.inputs[1].as<int>(), a.outputs[0].as<bf16>(), a.outputs[1].as<float>());
  });
}

}  // namespace trireme
