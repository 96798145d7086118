// Attention forward for Hopper: bf16 heads of 64 and 128, by wgmma, TMA and mbarriers (sm_90a).
//
// A block has one query head and 64 queries for each of its consumer warpgroups; one thread of the producer
// keeps two stages of keys and values on their way. A consumer computes the scores of the next keys while the
// values of the last ones are multiplied, and its softmax while another warpgroup's products run: a ring of
// named barriers lets the warpgroups issue products in turn. Source of this order: arXiv:2407.08608.
#include "runtime/cuda/attention.h"
#include "runtime/cuda/attention_operands.h"
#include "runtime/cuda/attention_sm90.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/hopper.h"
#include "runtime/cuda/launch.h"

namespace trireme {
namespace {

constexpr int kKeys = 128;
constexpr int kStages = 2;

// Consumers are as many as the registers allow; what the producer gives away is theirs.
template <int kHead>
struct Tiling {
  static constexpr int kGroups = kHead == 64 ? 3 : 2;
  static constexpr int kConsumerRegisters = kHead == 64 ? 160 : 240;
  static constexpr int kProducerRegisters = kHead == 64 ? 32 : 24;
  static constexpr int kQueries = kGroups * kGroupRows;
  static constexpr int kThreads = (kGroups + 1) * kGroupThreads;
};

// What lies in shared memory.
template <int kHead>
struct SharedTiles {
  static constexpr int kQueries = Tiling<kHead>::kQueries;
  static constexpr int kQueryBytes = kSwizzledBytes<kQueries, kHead>;
  static constexpr int kKeyBytes = kSwizzledBytes<kKeys, kHead>;

  struct Small {
    Mbarrier queries_full;
    Stage keys[kStages];
    Stage values[kStages];
    int lo[kQueries];
  };
  static constexpr size_t kBytes = kQueryBytes + 2 * kStages * kKeyBytes + sizeof(Small);

  // A consumer's queries, which become its results.
  GPU_FN SwizzledTile Queries(int group) const {
    return SwizzledTile{memory, kQueries * kTileRowBytes}.From(group * kGroupRows);
  }
  GPU_FN SwizzledTile Keys(int stage) const {
    return {memory + kQueryBytes + stage * kKeyBytes, kKeys * kTileRowBytes};
  }
  GPU_FN SwizzledTile Values(int stage) const { return Keys(kStages + stage); }
  GPU_FN Small& small() const { return *reinterpret_cast<Small*>(Keys(2 * kStages).memory); }

  unsigned char* memory;
};

// What a block works on. Blocks of the last queries come first: most often they see the most keys.
template <int kHead>
struct Work {
  GPU_FN Work(const AttentionHeads& heads, const int* lo) {
    constexpr int kQueries = Tiling<kHead>::kQueries;
    head = static_cast<int>(blockIdx.x) % heads.query_heads;
    const int tile = CeilDiv(heads.tokens, kQueries) - 1 - static_cast<int>(blockIdx.x) / heads.query_heads;
    begin = tile * kQueries;
    end = Min(begin + kQueries, heads.tokens);
    first_key = lo[begin];
    num_tiles = CeilDiv(end - first_key, kKeys);
  }

  int head, begin, end, first_key, num_tiles;
};

// One thread copies the queries and then all keys and values, each as soon as its stage is empty.
template <int kHead>
GPU_FN void Produce(const SharedTiles<kHead>& shared, const AttentionHeads& heads, const Work<kHead>& work,
                    const TensorMap& query_map, const TensorMap& key_map) {
  auto& small = shared.small();
  const int key_head = work.head / heads.group();
  MbarrierArriveExpect(&small.queries_full, SharedTiles<kHead>::kQueryBytes);
  for (int group = 0; group < Tiling<kHead>::kGroups; ++group) {
    LoadTile<kHead>(shared.Queries(group), query_map, work.begin + group * kGroupRows,
                    heads.QueryColumn(work.head), &small.queries_full);
  }
  for (int tile = 0; tile < work.num_tiles; ++tile) {
    const int i = tile % kStages;
    for (const bool values : {false, true}) {
      Stage& stage = values ? small.values[i] : small.keys[i];
      MbarrierWait(&stage.empty, ParityOf<kStages>(tile) ^ 1);
      MbarrierArriveExpect(&stage.full, SharedTiles<kHead>::kKeyBytes);
      LoadTile<kHead>(values ? shared.Values(i) : shared.Keys(i), key_map, work.first_key + tile * kKeys,
                      values ? heads.ValueColumn(key_head) : heads.KeyColumn(key_head), &stage.full);
    }
  }
}

// A consumer's softmax: its accumulators, and what its rows see.
template <int kHead>
struct Consumer {
  GPU_FN Consumer(const int* lo, int begin, int warpgroup, float scale)
      : group(warpgroup), scale_log2(scale), first(begin + warpgroup * kGroupRows) {
    lo += group * kGroupRows;
    last_lo = lo[kGroupRows - 1];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      query[half] = first + RowInGroup() + 8 * half;
      query_lo[half] = lo[RowInGroup() + 8 * half];
      maximum[half] = kNegativeInfinity;
      sum[half] = 0;
    }
    SetZero(sums);
  }

  // Hides the scores of keys from k on that a query does not see.
  GPU_FN void Mask(int k) {
    if (GPU_BRANCH(unmasked, k + kKeys - 1 <= first && k >= last_lo)) return;
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i) {
      if (!Sees(query[HalfOf(i)], query_lo[HalfOf(i)], k + ColumnOf(i))) scores[i] = kNegativeInfinity;
    }
  }

  // Turns scores into 2^(scale (score - maximum)); brings maximum and sum, this lane's columns of it, up to
  // date, and sets the factor of what was summed before.
  GPU_FN void Softmax() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float highest = maximum[half];
#pragma unroll
      for (int i = 2 * half; i < kKeys / 2; i += 4) highest = fmaxf(highest, fmaxf(scores[i], scores[i + 1]));
      highest = WarpMax<4>(highest);
      // A row that saw no key so far has weights of zero, not of 2^(-inf + inf).
      const float subtracted = highest == kNegativeInfinity ? 0.0f : highest * scale_log2;
      correction[half] = FastExp2(maximum[half] * scale_log2 - subtracted);
      maximum[half] = highest;
      float added = 0;
#pragma unroll
      for (int i = 2 * half; i < kKeys / 2; i += 4) {
        scores[i] = FastExp2(fmaf(scores[i], scale_log2, -subtracted));
        scores[i + 1] = FastExp2(fmaf(scores[i + 1], scale_log2, -subtracted));
        added += scores[i] + scores[i + 1];
      }
      sum[half] = fmaf(sum[half], correction[half], added);
    }
  }
  GPU_FN void Correct() {
#pragma unroll
    for (int i = 0; i < kHead / 2; ++i) sums[i] *= correction[HalfOf(i)];
  }

  int group;
  float scale_log2;
  int first, last_lo;
  int query[2], query_lo[2];
  float maximum[2], sum[2], correction[2];
  float scores[kKeys / 2];
  float sums[kHead / 2];
  uint32_t weights[kKeys / 16][4];
};

// The ring: a warpgroup issues its products when the one before it has issued its own. Named barriers from 1
// on are the ring's, those behind them each of one group.
GPU_FN void AwaitTurn(int group) {
  NamedBarrierSync(1 + group, 2 * kGroupThreads);
}
GPU_FN void PassTurn(int to_group) {
  NamedBarrierArrive(1 + to_group, 2 * kGroupThreads);
}

// Leaves the sums over all the keys in the consumer.
template <int kHead>
GPU_FN void Consume(Consumer<kHead>& c, const SharedTiles<kHead>& shared, const Work<kHead>& work) {
  auto& small = shared.small();
  const SwizzledTile queries = shared.Queries(c.group);
  const bool is_last_group = c.group == Tiling<kHead>::kGroups - 1;
  if (is_last_group && work.num_tiles > 1) PassTurn(0);
  MbarrierWait(&small.queries_full, 0);
  MbarrierWait(&small.keys[0].full, 0);
  WgmmaHold(c.scores);
  WgmmaFence();
  StartProductOverHead<kHead>(c.scores, queries, shared.Keys(0));
  WgmmaCommit();
  WgmmaWait<0>();
  WgmmaHold(c.scores);
  small.keys[0].Release();
  c.Mask(work.first_key);
  c.Softmax();
  Round(c.weights, c.scores);
  for (int tile = 1; tile < work.num_tiles; ++tile) {
    const int now = tile % kStages;
    const int before = (tile - 1) % kStages;
    MbarrierWait(&small.keys[now].full, ParityOf<kStages>(tile));
    AwaitTurn(c.group);
    WgmmaHold(c.scores);
    WgmmaHold(c.sums);
    WgmmaFence();
    StartProductOverHead<kHead>(c.scores, queries, shared.Keys(now));
    WgmmaCommit();
    MbarrierWait(&small.values[before].full, ParityOf<kStages>(tile - 1));
    WgmmaFence();
    StartAddOverRows(c.sums, c.weights, shared.Values(before));
    WgmmaCommit();
    if (!is_last_group) {
      PassTurn(c.group + 1);
    } else if (tile + 1 < work.num_tiles) {
      PassTurn(0);
    }
    WgmmaWait<1>();
    WgmmaHold(c.scores);
    small.keys[now].Release();
    c.Mask(work.first_key + tile * kKeys);
    c.Softmax();
    WgmmaWait<0>();
    WgmmaHold(c.sums);
    small.values[before].Release();
    Round(c.weights, c.scores);
    c.Correct();
  }
  const int last = work.num_tiles - 1;
  MbarrierWait(&small.values[last % kStages].full, ParityOf<kStages>(last));
  WgmmaHold(c.sums);
  WgmmaFence();
  StartAddOverRows(c.sums, c.weights, shared.Values(last % kStages));
  WgmmaCommit();
  WgmmaWait<0>();
  WgmmaHold(c.sums);
}

// Divides by the sums of the weights, and writes out and log-sum-exp. The results go through the queries'
// memory, which only this warpgroup reads, and has read.
template <int kHead>
GPU_FN void Finish(const Consumer<kHead>& c, const SwizzledTile& queries, const AttentionHeads& heads,
                   const Work<kHead>& work, const TensorMap& out_map, float* lse) {
  float factor[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float total = WarpSum<4>(c.sum[half]);
    factor[half] = 1.0f / total;
    const int64_t row = c.query[half];
    if (LaneId() % 4 == 0 && row < work.end) {
      lse[row * heads.query_heads + work.head] = fmaf(c.maximum[half], c.scale_log2 / kLog2E, logf(total));
    }
  }
  StoreTile(c.sums, factor, queries, out_map, c.first, heads.QueryColumn(work.head),
            1 + Tiling<kHead>::kGroups + c.group);
}

//   query_map, key_map: of qkv [T, (H + 2K) A]   out_map: of out [T, H A]   lo [T]   lse [T, H]
template <int kHead>
GPU_KERNEL(Tiling<kHead>::kThreads, 1)
AttentionForwardSm90(AttentionHeads heads, float scale_log2, GPU_GRID_CONSTANT const TensorMap query_map,
                     GPU_GRID_CONSTANT const TensorMap key_map, GPU_GRID_CONSTANT const TensorMap out_map,
                     const int* __restrict__ lo, float* __restrict__ lse) {
  using Shape = Tiling<kHead>;
  DSMEM(unsigned char, memory);
  const SharedTiles<kHead> shared = {memory};
  const Work<kHead> work(heads, lo);
  const int group = WarpGroup();
  auto& small = shared.small();
  if (threadIdx.x == 0) {
    MbarrierInit(&small.queries_full, 1);
    for (int i = 0; i < kStages; ++i) {
      small.keys[i].Init(1, Shape::kGroups * kGroupWarps);
      small.values[i].Init(1, Shape::kGroups * kGroupWarps);
    }
    MbarrierFenceInit();
  }
  if (threadIdx.x < Shape::kQueries) {
    small.lo[threadIdx.x] = lo[Min(work.begin + static_cast<int>(threadIdx.x), work.end - 1)];
  }
  __syncthreads();
  if (group == Shape::kGroups) {
    GiveRegisters<Shape::kProducerRegisters>();
    if (threadIdx.x == Shape::kGroups * kGroupThreads) Produce(shared, heads, work, query_map, key_map);
  } else {
    TakeRegisters<Shape::kConsumerRegisters>();
    Consumer<kHead> consumer(small.lo, work.begin, group, scale_log2);
    Consume(consumer, shared, work);
    Finish(consumer, shared.Queries(group), heads, work, out_map, lse);
  }
}

}  // namespace

void AttentionHopper(const KernelArguments& a) {
  CHECK_EQ(a.inputs.size(), 2) << "slopes";
  const AttentionHeads heads(a.op, a.inputs[0]);
  const bf16* qkv = a.inputs[0].as<bf16>();
  const auto map = [&](const bf16* data, int64_t columns, int box_rows) {
    return MakeTensorMap(data, heads.tokens, columns, columns, box_rows);
  };
  ForHopperHead(heads.head_size, [&](auto size) {
    constexpr int kHead = decltype(size)::value;
    using Shape = Tiling<kHead>;
    const int64_t tiles = CeilDiv(heads.tokens, Shape::kQueries);
    GPU_LAUNCH(AttentionForwardSm90<kHead>, GridOf(tiles * heads.query_heads), Shape::kThreads,
               SharedTiles<kHead>::kBytes, a.stream, heads, heads.scale() * kLog2E,
               map(qkv, heads.columns(), kGroupRows), map(qkv, heads.columns(), kKeys),
               map(a.outputs[0].as<bf16>(), heads.out_columns(), kGroupRows), a.inputs[1].as<int>(),
               a.outputs[1].as<float>());
  });
}

}  // namespace trireme
