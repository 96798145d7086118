// Gradient of attention with tensor cores: bf16, by mma.sync, ldmatrix and cp.async (sm_80 and later).
//
// KeyGradients has a block for each tile of keys, which loops over the queries that see them, head by head of
// the group, and QueryGradients one for each tile of queries, which loops over their keys. Both compute the
// weights anew: seven products instead of five, but every sum is one thread's, in a fixed order, and nothing
// is added up in global memory.
//   weights  = 2^(scale log2(e) q . k - lse)          dscores = weights (dweights - delta)
//   dweights = dout . v                                dq = scale dscores k
//   dv       = weights^T dout                          dk = scale dscores^T q
// KeyGradients works on the transposed tiles, [keys, queries]: then weights and dscores are in registers just
// where the next product wants its left operand.
#include "runtime/cuda/attention.h"
#include "runtime/cuda/attention_operands.h"
#include "runtime/cuda/attention_tiles.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"

namespace trireme {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarpSize;
// Rows of the streamed tiles; two stages of them.
constexpr int kStep = 32;

// The two gradients of a warp's keys fill the registers: 32 rows of a head of 64, else 16.
template <int kHead>
constexpr int kRowTiles = kHead <= 64 ? 2 : 1;
template <int kHead>
constexpr int kWarpRows = 16 * kRowTiles<kHead>;
template <int kHead>
constexpr int kRows = kWarps* kWarpRows<kHead>;

// What lies in shared memory: two resident tiles, two stages of two streamed tiles, and small things.
template <int kHead>
struct SharedTiles {
  static constexpr int kResident = kRows<kHead> * kTileStride<kHead>;
  static constexpr int kStreamed = kStep * kTileStride<kHead>;
  static constexpr size_t kBytes = (2 * kResident + 4 * kStreamed) * sizeof(bf16) +
                                   Max(2 * kStep * sizeof(AttentionStatistics), kRows<kHead> * sizeof(int));

  GPU_FN explicit SharedTiles(bf16* shared)
      : resident{shared, shared + kResident}, streamed(shared + 2 * kResident) {}

  // Tile 0 or 1 of a stage.
  GPU_FN bf16* Streamed(int stage, int tile) const { return streamed + (2 * stage + tile) * kStreamed; }
  GPU_FN AttentionStatistics* Statistics(int stage) const {
    return reinterpret_cast<AttentionStatistics*>(Streamed(2, 0)) + stage * kStep;
  }
  GPU_FN int* lo() const { return reinterpret_cast<int*>(Streamed(2, 0)); }

  bf16* resident[2];
  bf16* streamed;
};

// Where a block of KeyGradients is in the queries: tiles of one head after the other.
struct QueryTile {
  int head;
  int first;

  GPU_FN void Advance(int begin, int end) {
    first += kStep;
    if (first >= end) {
      first = begin;
      ++head;
    }
  }
};

// What KeyGradients streams.
struct QueryStream {
  AttentionHeads heads;
  const bf16* qkv;
  const bf16* dout;
  const AttentionStatistics* statistics;

  template <int kHead>
  GPU_FN void Start(const SharedTiles<kHead>& shared, int stage, QueryTile at, int end) const {
    const HeadRows queries = {qkv + heads.QueryColumn(at.head), heads.columns(), heads.head_size};
    const HeadRows douts = {dout + heads.QueryColumn(at.head), heads.out_columns(), heads.head_size};
    StartTile<kStep, kHead, kThreads>(shared.Streamed(stage, 0), queries, at.first, end);
    StartTile<kStep, kHead, kThreads>(shared.Streamed(stage, 1), douts, at.first, end);
    constexpr int kPerCopy = 16 / sizeof(AttentionStatistics);
    const int i = static_cast<int>(threadIdx.x) * kPerCopy;
    if (i < kStep) {
      CpAsync16(shared.Statistics(stage) + i,
                statistics + at.head * PaddedTokens(heads.tokens) + at.first + i);
    }
  }
};

// Hides the scores [keys, queries] of keys from `key` and queries from `query` on that are not seen.
template <int kTiles, int kColumnTiles>
GPU_FN void MaskTransposed(float (&scores)[kTiles][kColumnTiles][4], const int* lo, int key, int query,
                           int tokens) {
#pragma unroll
  for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const int q = query + ColumnOf(n, pair);
      const int q_lo = lo[Min(q, tokens - 1)];
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int e = pair; e < 4; e += 2) {
          if (!Sees(q, q_lo, key + RowOf(m, e))) scores[m][n][e] = kNegativeInfinity;
        }
      }
    }
  }
}

// scores [keys, queries] to weights.
template <int kTiles>
GPU_FN void WeightsTransposed(float (&scores)[kTiles][kStep / 8][4], const AttentionStatistics* statistics,
                              float scale_log2) {
#pragma unroll
  for (int n = 0; n < kStep / 8; ++n) {
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const float lse = statistics[ColumnOf(n, pair)].lse;
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int e = pair; e < 4; e += 2) {
          scores[m][n][e] = FastExp2(fmaf(scores[m][n][e], scale_log2, -lse));
        }
      }
    }
  }
}

// dweights [keys, queries] to dscores.
template <int kTiles>
GPU_FN void DscoresTransposed(float (&dweights)[kTiles][kStep / 8][4],
                              const float (&weights)[kTiles][kStep / 8][4],
                              const AttentionStatistics* statistics) {
#pragma unroll
  for (int n = 0; n < kStep / 8; ++n) {
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const float delta = statistics[ColumnOf(n, pair)].delta;
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int e = pair; e < 4; e += 2) dweights[m][n][e] = weights[m][n][e] * (dweights[m][n][e] - delta);
      }
    }
  }
}

template <int kTiles>
GPU_FN void Fill(float (&values)[kTiles][2], float value) {
#pragma unroll
  for (int i = 0; i < 2 * kTiles; ++i) values[i / 2][i % 2] = value;
}

// Writes dk and dv. Blocks of the first keys come first: most often they are seen by the most queries.
//   qkv, dqkv [T, (H + 2K) A]   dout [T, H A]   lo [T]   statistics [H, PaddedTokens]
template <int kHead>
GPU_KERNEL(kThreads)
KeyGradients(AttentionHeads heads, float scale, const bf16* __restrict__ qkv, const bf16* __restrict__ dout,
             const int* __restrict__ lo, const AttentionStatistics* __restrict__ statistics,
             bf16* __restrict__ dqkv) {
  constexpr int kTiles = kRowTiles<kHead>;
  DSMEM(bf16, memory);
  const SharedTiles<kHead> shared(memory);
  const int key_head = static_cast<int>(blockIdx.x) % heads.key_heads;
  const int begin = static_cast<int>(blockIdx.x) / heads.key_heads * kRows<kHead>;
  const int end = Min(begin + kRows<kHead>, heads.tokens);
  const HeadRows keys = {qkv + heads.KeyColumn(key_head), heads.columns(), heads.head_size};
  const HeadRows values = {qkv + heads.ValueColumn(key_head), heads.columns(), heads.head_size};
  // The queries that see any of the keys, and how many of them see the first one.
  const int query_end = FirstBlindTo(end - 1, lo, begin, heads.tokens);
  const int sighted_end = FirstBlindTo(begin, lo, begin, query_end);
  const QueryStream stream = {heads, qkv, dout, statistics};
  QueryTile at = {key_head * heads.group(), begin};
  const int heads_end = at.head + heads.group();
  StartTile<kRows<kHead>, kHead, kThreads>(shared.resident[0], keys, begin, end);
  StartTile<kRows<kHead>, kHead, kThreads>(shared.resident[1], values, begin, end);
  stream.Start(shared, 0, at, query_end);
  CpAsyncCommit();

  const int warp_row = Shuffle(WarpId(), 0) * kWarpRows<kHead>;
  const int warp_key = begin + warp_row;
  const SharedAddress key_operand = RowOperand<kHead>(shared.resident[0], warp_row);
  const SharedAddress value_operand = RowOperand<kHead>(shared.resident[1], warp_row);
  Accumulator<kTiles, kHead> dkeys = {};
  Accumulator<kTiles, kHead> dvalues = {};
  for (int stage = 0; at.head < heads_end; stage ^= 1) {
    const int query = at.first;
    CpAsyncWait<0>();
    __syncthreads();  // this stage is there, and all warps have read the other one
    at.Advance(begin, query_end);
    if (at.head < heads_end) stream.Start(shared, stage ^ 1, at, query_end);
    CpAsyncCommit();
    if (GPU_BRANCH(blind, query + kStep <= warp_key)) continue;  // all queries before the warp's keys
    const bf16* const query_tile = shared.Streamed(stage, 0);
    const bf16* const dout_tile = shared.Streamed(stage, 1);
    Accumulator<kTiles, kStep> weights;
    ProductOverHead<kHead>(weights, key_operand, ColumnOperand<kHead>(query_tile));
    if (GPU_BRANCH(masked, query < warp_key + kWarpRows<kHead> - 1 || query + kStep > sighted_end)) {
      MaskTransposed(weights, lo, warp_key, query, heads.tokens);
    }
    WeightsTransposed(weights, shared.Statistics(stage), scale * kLog2E);
    Accumulator<kTiles, kStep> dscores;
    ProductOverHead<kHead>(dscores, value_operand, ColumnOperand<kHead>(dout_tile));
    DscoresTransposed(dscores, weights, shared.Statistics(stage));
    AddProductOverRows<kHead>(dvalues, weights, RowOperand<kHead>(dout_tile));
    AddProductOverRows<kHead>(dkeys, dscores, RowOperand<kHead>(query_tile));
  }

  float factor[kTiles][2];
  Fill(factor, scale);
  StoreRows<kHead>(dkeys, factor, shared.resident[0] + warp_row * kTileStride<kHead>,
                   dqkv + heads.KeyColumn(key_head), heads.columns(), heads.head_size, warp_key, end);
  Fill(factor, 1.0f);
  StoreRows<kHead>(dvalues, factor, shared.resident[1] + warp_row * kTileStride<kHead>,
                   dqkv + heads.ValueColumn(key_head), heads.columns(), heads.head_size, warp_key, end);
}

// Writes dq. Operands as above.
template <int kHead>
GPU_KERNEL(kThreads)
QueryGradients(AttentionHeads heads, float scale, const bf16* __restrict__ qkv, const bf16* __restrict__ dout,
               const int* __restrict__ lo, const AttentionStatistics* __restrict__ statistics,
               bf16* __restrict__ dqkv) {
  constexpr int kTiles = kRowTiles<kHead>;
  DSMEM(bf16, memory);
  const SharedTiles<kHead> shared(memory);
  const int head = static_cast<int>(blockIdx.x) % heads.query_heads;
  const int tile = CeilDiv(heads.tokens, kRows<kHead>) - 1 - static_cast<int>(blockIdx.x) / heads.query_heads;
  const int begin = tile * kRows<kHead>;
  const int end = Min(begin + kRows<kHead>, heads.tokens);
  const int key_head = head / heads.group();
  const HeadRows queries = {qkv + heads.QueryColumn(head), heads.columns(), heads.head_size};
  const HeadRows douts = {dout + heads.QueryColumn(head), heads.out_columns(), heads.head_size};
  const HeadRows keys = {qkv + heads.KeyColumn(key_head), heads.columns(), heads.head_size};
  const HeadRows values = {qkv + heads.ValueColumn(key_head), heads.columns(), heads.head_size};
  const int first_key = lo[begin];
  StartTile<kRows<kHead>, kHead, kThreads>(shared.resident[0], queries, begin, end);
  StartTile<kRows<kHead>, kHead, kThreads>(shared.resident[1], douts, begin, end);
  StartTile<kStep, kHead, kThreads>(shared.Streamed(0, 0), keys, first_key, end);
  StartTile<kStep, kHead, kThreads>(shared.Streamed(0, 1), values, first_key, end);
  CpAsyncCommit();

  const int warp_row = Shuffle(WarpId(), 0) * kWarpRows<kHead>;
  static_assert(kRows<kHead> <= kThreads);
  if (threadIdx.x < kRows<kHead>) {
    shared.lo()[threadIdx.x] = lo[Min(begin + static_cast<int>(threadIdx.x), end - 1)];
  }
  const WarpQueries<kTiles> warp(shared.lo() + warp_row, begin + warp_row,
                                 Min(kWarpRows<kHead>, end - begin - warp_row));
  float lse[kTiles][2], delta[kTiles][2];
#pragma unroll
  for (int i = 0; i < 2 * kTiles; ++i) {
    const int64_t row = Min(warp.first + RowOf(i / 2, 2 * (i % 2)), heads.tokens - 1);
    const AttentionStatistics of_row = statistics[head * PaddedTokens(heads.tokens) + row];
    lse[i / 2][i % 2] = of_row.lse;
    delta[i / 2][i % 2] = of_row.delta;
  }
  const SharedAddress query_operand = RowOperand<kHead>(shared.resident[0], warp_row);
  const SharedAddress dout_operand = RowOperand<kHead>(shared.resident[1], warp_row);
  Accumulator<kTiles, kHead> dqueries = {};
  for (int k = first_key, stage = 0; k < end; k += kStep, stage ^= 1) {
    CpAsyncWait<0>();
    __syncthreads();  // this stage is there, and all warps have read the other one
    if (GPU_BRANCH(more_keys, k + kStep < end)) {
      StartTile<kStep, kHead, kThreads>(shared.Streamed(stage ^ 1, 0), keys, k + kStep, end);
      StartTile<kStep, kHead, kThreads>(shared.Streamed(stage ^ 1, 1), values, k + kStep, end);
    }
    CpAsyncCommit();
    if (GPU_BRANCH(blind, !warp.SeeAny(k, k + kStep))) continue;
    const bf16* const key_tile = shared.Streamed(stage, 0);
    const bf16* const value_tile = shared.Streamed(stage, 1);
    Accumulator<kTiles, kStep> weights;
    ProductOverHead<kHead>(weights, query_operand, ColumnOperand<kHead>(key_tile));
    if (GPU_BRANCH(masked, !warp.SeeAll(k, k + kStep))) warp.Mask(weights, k);
    Accumulator<kTiles, kStep> dscores;
    ProductOverHead<kHead>(dscores, dout_operand, ColumnOperand<kHead>(value_tile));
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kStep / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const float weight = FastExp2(fmaf(weights[m][n][e], scale * kLog2E, -lse[m][e / 2]));
          dscores[m][n][e] = weight * (dscores[m][n][e] - delta[m][e / 2]);
        }
      }
    }
    AddProductOverRows<kHead>(dqueries, dscores, RowOperand<kHead>(key_tile));
  }

  float factor[kTiles][2];
  Fill(factor, scale);
  StoreRows<kHead>(dqueries, factor, shared.resident[0] + warp_row * kTileStride<kHead>,
                   dqkv + heads.QueryColumn(head), heads.columns(), heads.head_size, warp.first, end);
}

}  // namespace

void AttentionGradTensorCores(const KernelArguments& a) {
  CHECK_EQ(a.inputs.size(), 5) << "slopes";
  const AttentionHeads heads(a.op, a.inputs[1]);
  ForTileHead(heads.head_size, [&](auto size) {
    constexpr int kHead = decltype(size)::value;
    const int64_t tiles = CeilDiv(heads.tokens, kRows<kHead>);
    const auto launch = [&](auto kernel, int num_heads) {
      GPU_LAUNCH(kernel, GridOf(tiles * num_heads), kThreads, SharedTiles<kHead>::kBytes, a.stream, heads,
                 heads.scale(), a.inputs[1].as<bf16>(), a.inputs[0].as<bf16>(), a.inputs[4].as<int>(),
                 static_cast<const AttentionStatistics*>(a.workspace), a.outputs[0].as<bf16>());
    };
    launch(KeyGradients<kHead>, heads.key_heads);
    launch(QueryGradients<kHead>, heads.query_heads);
  });
}

}  // namespace trireme
