// Gradient of attention for Hopper: bf16 heads of 64 and 128, by wgmma, TMA and mbarriers (sm_90a).
//
// The same two kernels as attention_backward.cu has, and the same sums: KeyGradients loops over the queries
// of a tile of keys, QueryGradients over the keys of a tile of queries. Here a warp of the producer keeps two
// stages of what streams by on their way, and each of two consumer warpgroups owns 64 rows. dqueries
// of a tile are summed during the next one.
#include "runtime/cuda/attention.h"
#include "runtime/cuda/attention_operands.h"
#include "runtime/cuda/attention_sm90.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/hopper.h"
#include "runtime/cuda/launch.h"

namespace trireme {
namespace {

constexpr int kGroups = 2;
constexpr int kRows = kGroups * kGroupRows;
constexpr int kThreads = (kGroups + 1) * kGroupThreads;
constexpr int kConsumerRegisters = 240;
constexpr int kProducerRegisters = 24;
constexpr int kStages = 2;
constexpr int kStep = 64;  // rows of the streamed tiles

// What lies in shared memory.
template <int kHead>
struct SharedTiles {
  static constexpr int kResidentBytes = kSwizzledBytes<kRows, kHead>;
  static constexpr int kStreamedBytes = kSwizzledBytes<kStep, kHead>;

  struct Small {
    Mbarrier resident_full;
    Stage stages[kStages];
    AttentionStatistics statistics[kStages][kStep];  // KeyGradients: of the streamed queries
    int lo[kStages * kStep];  // of the streamed queries; QueryGradients: of the resident ones
  };
  static_assert(kStages * kStep >= kRows);
  static constexpr size_t kBytes = 2 * kResidentBytes + 2 * kStages * kStreamedBytes + sizeof(Small);

  // A consumer's rows of resident tile 0 or 1, which become its results.
  GPU_FN SwizzledTile Resident(int tile, int group) const {
    return SwizzledTile{memory + tile * kResidentBytes, kRows * kTileRowBytes}.From(group * kGroupRows);
  }
  // Tile 0 or 1 of a stage.
  GPU_FN SwizzledTile Streamed(int stage, int tile) const {
    return {memory + 2 * kResidentBytes + (2 * stage + tile) * kStreamedBytes, kStep * kTileRowBytes};
  }
  GPU_FN Small& small() const { return *reinterpret_cast<Small*>(Streamed(kStages, 0).memory); }

  // All threads of the block.
  GPU_FN void InitBarriers(int producer_arrivals) const {
    if (threadIdx.x == 0) {
      MbarrierInit(&small().resident_full, 1);
      for (Stage& stage : small().stages) stage.Init(producer_arrivals, kGroups * kGroupWarps);
      MbarrierFenceInit();
    }
    __syncthreads();
  }

  // One thread copies a tile of all groups' rows.
  GPU_FN void LoadResident(int tile, const TensorMap& map, int row, int64_t column) const {
    for (int group = 0; group < kGroups; ++group) {
      LoadTile<kHead>(Resident(tile, group), map, row + group * kGroupRows, column, &small().resident_full);
    }
  }

  unsigned char* memory;
};

// All maps have boxes of 64 rows: of qkv, dqkv [T, (H + 2K) A] and dout [T, H A].
struct Maps {
  TensorMap qkv, dout, dqkv;
};

GPU_FN bool IsProducerWarp() {
  return static_cast<int>(threadIdx.x) / kWarpSize == kGroups * kGroupWarps;
}

// The keys of a block of KeyGradients, and the queries that see any of them: query tiles of one head after
// the other.
struct KeyWork {
  GPU_FN KeyWork(const AttentionHeads& heads, const int* lo) {
    key_head = static_cast<int>(blockIdx.x) % heads.key_heads;
    begin = static_cast<int>(blockIdx.x) / heads.key_heads * kRows;
    const int end = Min(begin + kRows, heads.tokens);
    query_end = FirstBlindTo(end - 1, lo, begin, heads.tokens);
    sighted_end = FirstBlindTo(begin, lo, begin, query_end);
    tiles_of_head = CeilDiv(query_end - begin, kStep);
    num_tiles = tiles_of_head * heads.group();
  }
  GPU_FN int QueryOf(int tile) const { return begin + tile % tiles_of_head * kStep; }

  int key_head, begin;
  int query_end, sighted_end;  // behind the queries that see any of the keys; behind those that see the first
  int tiles_of_head, num_tiles;
};

// One warp copies keys and values, then query tiles with what belongs to each query.
template <int kHead>
GPU_FN void ProduceQueries(const SharedTiles<kHead>& shared, const AttentionHeads& heads, const KeyWork& work,
                           const Maps& maps, const AttentionStatistics* statistics, const int* lo) {
  using Tiles = SharedTiles<kHead>;
  auto& small = shared.small();
  if (LaneId() == 0) {
    MbarrierArriveExpect(&small.resident_full, 2 * Tiles::kResidentBytes);
    shared.LoadResident(0, maps.qkv, work.begin, heads.KeyColumn(work.key_head));
    shared.LoadResident(1, maps.qkv, work.begin, heads.ValueColumn(work.key_head));
  }
  for (int tile = 0; tile < work.num_tiles; ++tile) {
    const int i = tile % kStages;
    Stage& stage = small.stages[i];
    const int head = work.key_head * heads.group() + tile / work.tiles_of_head;
    const int query = work.QueryOf(tile);
    MbarrierWait(&stage.empty, ParityOf<kStages>(tile) ^ 1);
    if (LaneId() == 0) {
      MbarrierArriveExpect(&stage.full, 2 * Tiles::kStreamedBytes);
      LoadTile<kHead>(shared.Streamed(i, 0), maps.qkv, query, heads.QueryColumn(head), &stage.full);
      LoadTile<kHead>(shared.Streamed(i, 1), maps.dout, query, heads.QueryColumn(head), &stage.full);
    }
    const AttentionStatistics* of_head = statistics + head * PaddedTokens(heads.tokens);
    for (int q = LaneId(); q < kStep; q += kWarpSize) {
      small.statistics[i][q] = of_head[query + q];
      small.lo[i * kStep + q] = lo[Min(query + q, heads.tokens - 1)];
    }
    MbarrierArrive(&stage.full);
  }
}

// Issues both products over the head, each a group of its own, scores first.
template <int kHead>
GPU_FN void StartScores(float (&scores)[kStep / 2], float (&dweights)[kStep / 2],
                        const SharedTiles<kHead>& shared, int group, int stage) {
  WgmmaHold(scores);
  WgmmaHold(dweights);
  WgmmaFence();
  StartProductOverHead<kHead>(scores, shared.Resident(0, group), shared.Streamed(stage, 0));
  WgmmaCommit();
  StartProductOverHead<kHead>(dweights, shared.Resident(1, group), shared.Streamed(stage, 1));
  WgmmaCommit();
}

// Issues sums += left tile, as a group.
template <int kHead>
GPU_FN void StartSums(float (&sums)[kHead / 2], const uint32_t (&left)[kStep / 16][4],
                      const SwizzledTile& tile) {
  WgmmaHold(sums);
  WgmmaFence();
  StartAddOverRows(sums, left, tile);
  WgmmaCommit();
}

// The sums of a consumer's keys.
template <int kHead>
struct KeySums {
  float dkeys[kHead / 2];
  float dvalues[kHead / 2];
};

// scores [keys, queries] of a tile to weights; `key`: the group's first.
GPU_FN void WeightsOfKeys(float (&scores)[kStep / 2], const KeyWork& work, int key, int query,
                          const AttentionStatistics* statistics, const int* lo, float scale_log2) {
  if (GPU_BRANCH(masked, query < key + kGroupRows - 1 || query + kStep > work.sighted_end)) {
#pragma unroll
    for (int i = 0; i < kStep / 2; ++i) {
      const int column = ColumnOf(i);
      if (!Sees(query + column, lo[column], key + RowInGroup() + 8 * HalfOf(i))) {
        scores[i] = kNegativeInfinity;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kStep / 2; ++i) {
    scores[i] = FastExp2(fmaf(scores[i], scale_log2, -statistics[ColumnOf(i)].lse));
  }
}

// The registers of a head of 128 do not allow dkeys to be summed during the next tile.
template <int kHead>
GPU_FN void ConsumeQueries(KeySums<kHead>& sums, const SharedTiles<kHead>& shared, const KeyWork& work,
                           int group, float scale_log2) {
  auto& small = shared.small();
  const int key = work.begin + group * kGroupRows;
  SetZero(sums.dkeys);
  SetZero(sums.dvalues);
  float weights[kStep / 2], dscores[kStep / 2];
  uint32_t left_weights[kStep / 16][4], left_dscores[kStep / 16][4];
  MbarrierWait(&small.resident_full, 0);
  for (int tile = 0; tile < work.num_tiles; ++tile) {
    const int i = tile % kStages;
    MbarrierWait(&small.stages[i].full, ParityOf<kStages>(tile));
    StartScores(weights, dscores, shared, group, i);
    WgmmaWait<1>();
    WgmmaHold(weights);
    WeightsOfKeys(weights, work, key, work.QueryOf(tile), small.statistics[i], small.lo + i * kStep,
                  scale_log2);
    Round(left_weights, weights);
    StartSums<kHead>(sums.dvalues, left_weights, shared.Streamed(i, 1));
    WgmmaWait<1>();
    WgmmaHold(dscores);
#pragma unroll
    for (int j = 0; j < kStep / 2; ++j) {
      dscores[j] = weights[j] * (dscores[j] - small.statistics[i][ColumnOf(j)].delta);
    }
    Round(left_dscores, dscores);
    StartSums<kHead>(sums.dkeys, left_dscores, shared.Streamed(i, 0));
    WgmmaWait<0>();
    WgmmaHold(sums.dkeys);
    WgmmaHold(sums.dvalues);
    small.stages[i].Release();
  }
}

// Writes dk and dv. Blocks of the first keys come first: most often they are seen by the most queries.
//   lo [T]   statistics [H, PaddedTokens]
template <int kHead>
GPU_KERNEL(kThreads, 1)
KeyGradientsSm90(AttentionHeads heads, float scale, GPU_GRID_CONSTANT const Maps maps,
                 const int* __restrict__ lo, const AttentionStatistics* __restrict__ statistics) {
  DSMEM(unsigned char, memory);
  const SharedTiles<kHead> shared = {memory};
  const KeyWork work(heads, lo);
  const int group = WarpGroup();
  // Each lane of the producer says that its queries' numbers are there, one of them that copies are coming.
  shared.InitBarriers(kWarpSize + 1);
  if (group == kGroups) {
    GiveRegisters<kProducerRegisters>();
    if (IsProducerWarp()) ProduceQueries(shared, heads, work, maps, statistics, lo);
  } else {
    TakeRegisters<kConsumerRegisters>();
    KeySums<kHead> sums;
    ConsumeQueries(sums, shared, work, group, scale * kLog2E);
    const int row = work.begin + group * kGroupRows;
    StoreTile(sums.dkeys, {scale, scale}, shared.Resident(0, group), maps.dqkv, row,
              heads.KeyColumn(work.key_head), 1 + group);
    StoreTile(sums.dvalues, {1.0f, 1.0f}, shared.Resident(1, group), maps.dqkv, row,
              heads.ValueColumn(work.key_head), 1 + group);
  }
}

// The queries of a block of QueryGradients, and the keys that they see.
struct QueryWork {
  GPU_FN QueryWork(const AttentionHeads& heads, const int* lo) {
    head = static_cast<int>(blockIdx.x) % heads.query_heads;
    begin = (CeilDiv(heads.tokens, kRows) - 1 - static_cast<int>(blockIdx.x) / heads.query_heads) * kRows;
    end = Min(begin + kRows, heads.tokens);
    first_key = lo[begin];
    num_tiles = CeilDiv(end - first_key, kStep);
  }

  int head, begin, end, first_key, num_tiles;
};

// One thread copies queries and their gradients, then tiles of keys and values.
template <int kHead>
GPU_FN void ProduceKeys(const SharedTiles<kHead>& shared, const AttentionHeads& heads, const QueryWork& work,
                        const Maps& maps) {
  using Tiles = SharedTiles<kHead>;
  auto& small = shared.small();
  const int key_head = work.head / heads.group();
  MbarrierArriveExpect(&small.resident_full, 2 * Tiles::kResidentBytes);
  shared.LoadResident(0, maps.qkv, work.begin, heads.QueryColumn(work.head));
  shared.LoadResident(1, maps.dout, work.begin, heads.QueryColumn(work.head));
  for (int tile = 0; tile < work.num_tiles; ++tile) {
    const int i = tile % kStages;
    Stage& stage = small.stages[i];
    const int key = work.first_key + tile * kStep;
    MbarrierWait(&stage.empty, ParityOf<kStages>(tile) ^ 1);
    MbarrierArriveExpect(&stage.full, 2 * Tiles::kStreamedBytes);
    LoadTile<kHead>(shared.Streamed(i, 0), maps.qkv, key, heads.KeyColumn(key_head), &stage.full);
    LoadTile<kHead>(shared.Streamed(i, 1), maps.qkv, key, heads.ValueColumn(key_head), &stage.full);
  }
}

// A lane's rows of a tile of queries.
struct LaneQueries {
  GPU_FN LaneQueries(const QueryWork& work, int group, const AttentionStatistics* of_head,
                     const int* block_lo, int tokens)
      : first(work.begin + group * kGroupRows) {
    last_lo = block_lo[group * kGroupRows + kGroupRows - 1];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = RowInGroup() + 8 * half;
      query[half] = first + row;
      lo[half] = block_lo[group * kGroupRows + row];
      statistics[half] = of_head[Min(query[half], tokens - 1)];
    }
  }

  // scores [queries, keys] of a tile to weights.
  GPU_FN void Weights(float (&scores)[kStep / 2], int key, float scale_log2) const {
    if (GPU_BRANCH(masked, key + kStep - 1 > first || key < last_lo)) {
#pragma unroll
      for (int i = 0; i < kStep / 2; ++i) {
        if (!Sees(query[HalfOf(i)], lo[HalfOf(i)], key + ColumnOf(i))) scores[i] = kNegativeInfinity;
      }
    }
#pragma unroll
    for (int i = 0; i < kStep / 2; ++i) {
      scores[i] = FastExp2(fmaf(scores[i], scale_log2, -statistics[HalfOf(i)].lse));
    }
  }

  int first, last_lo;
  int query[2], lo[2];
  AttentionStatistics statistics[2];
};

// A tile's dqueries are summed during the next tile.
template <int kHead>
GPU_FN void ConsumeKeys(float (&dqueries)[kHead / 2], const SharedTiles<kHead>& shared, const QueryWork& work,
                        const LaneQueries& rows, int group, float scale_log2) {
  auto& small = shared.small();
  SetZero(dqueries);
  float weights[kStep / 2], dscores[kStep / 2];
  uint32_t left[kStep / 16][4];
  MbarrierWait(&small.resident_full, 0);
  for (int tile = 0; tile < work.num_tiles; ++tile) {
    const int i = tile % kStages;
    const int before = (tile + kStages - 1) % kStages;
    MbarrierWait(&small.stages[i].full, ParityOf<kStages>(tile));
    StartScores(weights, dscores, shared, group, i);
    if (tile > 0) {
      StartSums<kHead>(dqueries, left, shared.Streamed(before, 0));
      WgmmaWait<2>();
    } else {
      WgmmaWait<1>();
    }
    WgmmaHold(weights);
    rows.Weights(weights, work.first_key + tile * kStep, scale_log2);
    WgmmaWait<0>();
    WgmmaHold(dscores);
    WgmmaHold(dqueries);
    if (tile > 0) small.stages[before].Release();
#pragma unroll
    for (int j = 0; j < kStep / 2; ++j) {
      dscores[j] = weights[j] * (dscores[j] - rows.statistics[HalfOf(j)].delta);
    }
    Round(left, dscores);
  }
  StartSums<kHead>(dqueries, left, shared.Streamed((work.num_tiles - 1) % kStages, 0));
  WgmmaWait<0>();
  WgmmaHold(dqueries);
}

// Writes dq. Operands as above.
template <int kHead>
GPU_KERNEL(kThreads, 1)
QueryGradientsSm90(AttentionHeads heads, float scale, GPU_GRID_CONSTANT const Maps maps,
                   const int* __restrict__ lo, const AttentionStatistics* __restrict__ statistics) {
  DSMEM(unsigned char, memory);
  const SharedTiles<kHead> shared = {memory};
  const QueryWork work(heads, lo);
  const int group = WarpGroup();
  if (threadIdx.x < kRows) {
    shared.small().lo[threadIdx.x] = lo[Min(work.begin + static_cast<int>(threadIdx.x), work.end - 1)];
  }
  shared.InitBarriers(1);
  if (group == kGroups) {
    GiveRegisters<kProducerRegisters>();
    if (IsProducerWarp() && LaneId() == 0) ProduceKeys(shared, heads, work, maps);
  } else {
    TakeRegisters<kConsumerRegisters>();
    const LaneQueries rows(work, group, statistics + work.head * PaddedTokens(heads.tokens),
                           shared.small().lo, heads.tokens);
    float dqueries[kHead / 2];
    ConsumeKeys(dqueries, shared, work, rows, group, scale * kLog2E);
    StoreTile(dqueries, {scale, scale}, shared.Resident(0, group), maps.dqkv, rows.first,
              heads.QueryColumn(work.head), 1 + group);
  }
}

}  // namespace

void AttentionGradHopper(const KernelArguments& a) {
  CHECK_EQ(a.inputs.size(), 5) << "slopes";
  const AttentionHeads heads(a.op, a.inputs[1]);
  const auto map = [&](const View& v) {
    return MakeTensorMap(v.as<bf16>(), heads.tokens, v.shape.cols(), v.shape.cols(), kStep);
  };
  const Maps maps = {map(a.inputs[1]), map(a.inputs[0]), map(a.outputs[0])};
  ForHopperHead(heads.head_size, [&](auto size) {
    constexpr int kHead = decltype(size)::value;
    const int64_t tiles = CeilDiv(heads.tokens, kRows);
    const auto launch = [&](auto kernel, int num_heads) {
      GPU_LAUNCH(kernel, GridOf(tiles * num_heads), kThreads, SharedTiles<kHead>::kBytes, a.stream, heads,
                 heads.scale(), maps, a.inputs[4].as<int>(),
                 static_cast<const AttentionStatistics*>(a.workspace));
    };
    launch(KeyGradientsSm90<kHead>, heads.key_heads);
    launch(QueryGradientsSm90<kHead>, heads.query_heads);
  });
}

}  // namespace trireme
