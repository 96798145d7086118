// Attention and its gradient for every head size and dtype, with the CUDA cores: f32, bf16 heads that the
// tensor-core kernels do not serve, and the blocks of a ring (ops/ring_attention.h), whose keys are a value
// of their own (kBlock). Simple rather than fast.
//
// A block of 16 x 16 threads owns 64 rows (queries, or keys for dk and dv), loops over tiles of 64 columns
// that they meet, and sums kOutput columns of the results; a wider head takes further blocks, each of which
// computes the scores again. A thread has rows y + 16 i and columns x + 16 j of a tile.
#include "runtime/cuda/attention.h"
#include "runtime/cuda/attention_bias.h"
#include "runtime/cuda/attention_operands.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"

namespace trireme {
namespace {

constexpr int kSide = 16;
constexpr int kThreads = kSide * kSide;
constexpr int kEach = 4;  // rows and columns of a tile that are a thread's
constexpr int kTile = kSide * kEach;
constexpr int kSlice = 32;  // of a head or of a tile's columns, in shared memory at a time
constexpr int kOutput = 128;
constexpr int kOutputEach = kOutput / kSide;

GPU_FN int ThreadX() {
  return static_cast<int>(threadIdx.x) % kSide;
}
GPU_FN int ThreadY() {
  return static_cast<int>(threadIdx.x) / kSide;
}

// Rows of one head in global memory: `count` of them, `stride` elements apart.
template <typename T>
struct Rows {
  const T* data;
  int64_t stride;
  int count;

  // Zero outside.
  GPU_FN float At(int row, int column, int columns) const {
    return row < count && column < columns ? ToFloat(data[row * stride + column]) : 0.0f;
  }
};

// The tokens [begin, end) of one head of a [T, columns] operand.
template <typename T>
GPU_FN Rows<T> RowsOfHead(const T* operand, int64_t columns, int64_t head_column, int begin, int end) {
  return {operand + begin * columns + head_column, columns, end - begin};
}

struct alignas(16) SharedTile {
  union {
    struct {
      float a[kTile][kSlice + 1];
      float b[kTile][kSlice + 1];
    } dots;
    float rows[kSlice][kOutput];
  };
  float weights[kTile][kTile + 1];
};

using Tile = float[kEach][kEach];
using Output = float[kEach][kOutputEach];

// c = a b^T, the sum being over the head.
template <typename T>
GPU_FN void Dots(Tile& c, const Rows<T>& a, const Rows<T>& b, int head_size, SharedTile& shared) {
  for (int i = 0; i < kEach; ++i) {
    for (int j = 0; j < kEach; ++j) c[i][j] = 0;
  }
  for (int k = 0; k < head_size; k += kSlice) {
    __syncthreads();  // earlier readers are done
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kSlice; i += kThreads) {
      const int row = i / kSlice;
      const int column = i % kSlice;
      shared.dots.a[row][column] = a.At(row, k + column, head_size);
      shared.dots.b[row][column] = b.At(row, k + column, head_size);
    }
    __syncthreads();
    for (int s = 0; s < kSlice; ++s) {
      float left[kEach], right[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        left[i] = shared.dots.a[ThreadY() + kSide * i][s];
        right[i] = shared.dots.b[ThreadX() + kSide * i][s];
      }
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) c[i][j] = fmaf(left[i], right[j], c[i][j]);
      }
    }
  }
}

// c += w b: columns [first, first + kOutput) of the sum over b's rows, whose weights are w's columns.
template <typename T>
GPU_FN void AddWeighted(Output& c, const Tile& w, const Rows<T>& b, int first, int head_size,
                        SharedTile& shared) {
  __syncthreads();  // earlier readers are done
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      shared.weights[ThreadY() + kSide * i][ThreadX() + kSide * j] = w[i][j];
    }
  }
  for (int k = 0; k < kTile; k += kSlice) {
    __syncthreads();  // the weights are there, and the slice before this is read
    for (int i = static_cast<int>(threadIdx.x); i < kSlice * kOutput; i += kThreads) {
      shared.rows[i / kOutput][i % kOutput] = b.At(k + i / kOutput, first + i % kOutput, head_size);
    }
    __syncthreads();
    for (int s = 0; s < kSlice; ++s) {
      float left[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) left[i] = shared.weights[ThreadY() + kSide * i][k + s];
#pragma unroll
      for (int j = 0; j < kOutputEach; ++j) {
        const float right = shared.rows[s][ThreadX() + kSide * j];
#pragma unroll
        for (int i = 0; i < kEach; ++i) c[i][j] = fmaf(left[i], right, c[i][j]);
      }
    }
  }
}

// Writes c, times a factor a row, to the head that begins at `target`.
template <typename T>
GPU_FN void StoreOutput(const Output& c, const float (&factor)[kEach], T* target, int64_t stride, int rows,
                        int first, int head_size) {
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int row = ThreadY() + kSide * i;
#pragma unroll
    for (int j = 0; j < kOutputEach; ++j) {
      const int column = first + ThreadX() + kSide * j;
      if (row < rows && column < head_size) {
        target[row * stride + column] = FromFloat<T>(c[i][j] * factor[i]);
      }
    }
  }
}

// Keys and values side by side in rows of `columns` elements, behind `heads_before` other heads.
template <typename T>
struct KeyRows {
  T* data;
  int64_t columns;
  int heads_before;
  int count;
  const int* hi;  // of a block of a ring: query q sees [lo[q], hi[q])

  GPU_FN int64_t KeyColumn(int head, int head_size) const {
    return static_cast<int64_t>(heads_before + head) * head_size;
  }
  GPU_FN int64_t ValueColumn(int head, const AttentionHeads& heads) const {
    return static_cast<int64_t>(heads_before + heads.key_heads + head) * heads.head_size;
  }
  GPU_FN auto KeysOf(int head, const AttentionHeads& heads, int begin, int end) const {
    return RowsOfHead(data, columns, KeyColumn(head, heads.head_size), begin, end);
  }
  GPU_FN auto ValuesOf(int head, const AttentionHeads& heads, int begin, int end) const {
    return RowsOfHead(data, columns, ValueColumn(head, heads), begin, end);
  }
};

// The end of the keys that query q sees.
template <bool kBlock>
GPU_FN int EndOfKeys(const int* hi, int q) {
  if constexpr (kBlock) return hi[q];
  return q + 1;
}

// What a block works on: one head, one tile of rows, kOutput columns of results.
struct Work {
  GPU_FN Work(int num_heads, int rows, bool last_first) {
    const int tiles = CeilDiv(rows, kTile);
    int index = static_cast<int>(blockIdx.x);
    head = index % num_heads;
    index /= num_heads;
    begin = (last_first ? tiles - 1 - index % tiles : index % tiles) * kTile;
    end = Min(begin + kTile, rows);
    column = index / tiles * kOutput;
  }
  // Blocks in all.
  static unsigned Count(const AttentionHeads& heads, int64_t num_heads, int rows) {
    return GridOf(num_heads * CeilDiv(rows, kTile) * CeilDiv(heads.head_size, kOutput));
  }

  int head, begin, end, column;
};

// A thread's rows of a tile of queries: what they see.
template <bool kBlock>
struct RowsOfQueries {
  GPU_FN RowsOfQueries(const int* lo, const int* hi, int begin, int end) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      query[i] = begin + ThreadY() + kSide * i;
      first_key[i] = lo[Min(query[i], end - 1)];
      if constexpr (kBlock) end_key[i] = hi[Min(query[i], end - 1)];
    }
  }
  // Whether row i sees column j of the keys from k on.
  GPU_FN bool See(int i, int j, int k) const {
    const int key = k + ThreadX() + kSide * j;
    if constexpr (kBlock) return first_key[i] <= key && key < end_key[i];
    return Sees(query[i], first_key[i], key);
  }

  int query[kEach], first_key[kEach], end_key[kBlock ? kEach : 1];
};

// Where a thread's rows or columns of a tile stand, `first` and every kSide-th of `count` tokens.
template <bool kBlock, bool kAlibi>
struct Places {
  GPU_FN Places(const int* places, int first, int count) {
    if constexpr (kAlibi) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const int token = first + kSide * i;
        of[i] = kBlock ? places[Min(token, count - 1)] : token;
      }
    }
  }

  int of[kAlibi ? kEach : 1];
};

// A query that sees nothing: out 0, lse -infinity.
//   qkv [T, (H + 2K) A]   lo [T]   out [T, H A]   lse [T, H]
template <bool kBlock, bool kAlibi, typename T, typename Out>
GPU_KERNEL(kThreads)
GeneralForward(AttentionHeads heads, float scale_log2, const T* __restrict__ qkv, KeyRows<const T> all_keys,
               const int* __restrict__ lo, DistanceBias bias, Out* __restrict__ out,
               float* __restrict__ lse) {
  SMEM(SharedTile, shared, [1]);
  const Work work(heads.query_heads, heads.tokens, true);
  const int key_head = work.head / heads.group();
  const RowsOfQueries<kBlock> rows(lo, all_keys.hi, work.begin, work.end);
  const Places<kBlock, kAlibi> row_places(bias.query_places, work.begin + ThreadY(), heads.tokens);
  const auto queries = RowsOfHead(qkv, heads.columns(), heads.QueryColumn(work.head), work.begin, work.end);
  float maximum[kEach], sum[kEach];
  for (int i = 0; i < kEach; ++i) {
    maximum[i] = kNegativeInfinity;
    sum[i] = 0;
  }
  Output sums = {};
  const int key_end = EndOfKeys<kBlock>(all_keys.hi, work.end - 1);
  for (int k = lo[work.begin]; k < key_end; k += kTile) {
    const auto keys = all_keys.KeysOf(key_head, heads, k, key_end);
    const auto values = all_keys.ValuesOf(key_head, heads, k, key_end);
    const Places<kBlock, kAlibi> key_places(bias.key_places, k + ThreadX(), all_keys.count);
    Tile weights;
    Dots(weights, queries, keys, heads.head_size, shared[0]);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      float highest = maximum[i];
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        const float score = WithBias<kAlibi>(weights[i][j] * scale_log2, bias, work.head, key_places.of + j,
                                             row_places.of + i);
        weights[i][j] = rows.See(i, j, k) ? score : kNegativeInfinity;
        highest = fmaxf(highest, weights[i][j]);
      }
      highest = WarpMax<kSide>(highest);
      // A row that saw no key so far has weights of zero, not of 2^(-inf + inf).
      const float subtracted = highest == kNegativeInfinity ? 0.0f : highest;
      const float correction = exp2f(maximum[i] - subtracted);
      maximum[i] = highest;
      sum[i] *= correction;
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        weights[i][j] = exp2f(weights[i][j] - subtracted);
        sum[i] += weights[i][j];
      }
#pragma unroll
      for (int j = 0; j < kOutputEach; ++j) sums[i][j] *= correction;
    }
    AddWeighted(sums, weights, values, work.column, heads.head_size, shared[0]);
  }
  float factor[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const float total = WarpSum<kSide>(sum[i]);
    factor[i] = kBlock && total == 0 ? 0.0f : 1.0f / total;
    if (work.column == 0 && ThreadX() == 0 && rows.query[i] < work.end) {
      lse[static_cast<int64_t>(rows.query[i]) * heads.query_heads + work.head] =
          maximum[i] / kLog2E + logf(total);
    }
  }
  StoreOutput(sums, factor, out + work.begin * heads.out_columns() + heads.QueryColumn(work.head),
              heads.out_columns(), work.end - work.begin, work.column, heads.head_size);
}

// Writes dq, the query heads of rows of `dq_columns`.
//   qkv [T, (H + 2K) A]   dout [T, H A]   lo [T]   statistics [H, PaddedTokens]
template <bool kBlock, bool kAlibi, typename T, typename Out>
GPU_KERNEL(kThreads)
GeneralQueryGradients(AttentionHeads heads, float scale, const T* __restrict__ qkv, KeyRows<const T> all_keys,
                      const T* __restrict__ dout, const int* __restrict__ lo, DistanceBias bias,
                      const AttentionStatistics* __restrict__ statistics, Out* __restrict__ dq,
                      int64_t dq_columns) {
  SMEM(SharedTile, shared, [1]);
  const Work work(heads.query_heads, heads.tokens, true);
  const int key_head = work.head / heads.group();
  const RowsOfQueries<kBlock> rows(lo, all_keys.hi, work.begin, work.end);
  const Places<kBlock, kAlibi> row_places(bias.query_places, work.begin + ThreadY(), heads.tokens);
  const auto queries = RowsOfHead(qkv, heads.columns(), heads.QueryColumn(work.head), work.begin, work.end);
  const auto douts =
      RowsOfHead(dout, heads.out_columns(), heads.QueryColumn(work.head), work.begin, work.end);
  AttentionStatistics of_row[kEach];
  for (int i = 0; i < kEach; ++i) {
    of_row[i] = statistics[work.head * PaddedTokens(heads.tokens) + rows.query[i]];
  }
  Output sums = {};
  const int key_end = EndOfKeys<kBlock>(all_keys.hi, work.end - 1);
  for (int k = lo[work.begin]; k < key_end; k += kTile) {
    const auto keys = all_keys.KeysOf(key_head, heads, k, key_end);
    const auto values = all_keys.ValuesOf(key_head, heads, k, key_end);
    const Places<kBlock, kAlibi> key_places(bias.key_places, k + ThreadX(), all_keys.count);
    Tile scores, dscores;
    Dots(scores, queries, keys, heads.head_size, shared[0]);
    Dots(dscores, douts, values, heads.head_size, shared[0]);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        const float score = WithBias<kAlibi>(scores[i][j] * (scale * kLog2E), bias, work.head,
                                             key_places.of + j, row_places.of + i);
        const float weight = rows.See(i, j, k) ? exp2f(score - of_row[i].lse) : 0.0f;
        dscores[i][j] = weight * (dscores[i][j] - of_row[i].delta);
      }
    }
    AddWeighted(sums, dscores, keys, work.column, heads.head_size, shared[0]);
  }
  const float factor[kEach] = {scale, scale, scale, scale};
  StoreOutput(sums, factor, dq + work.begin * dq_columns + heads.QueryColumn(work.head), dq_columns,
              work.end - work.begin, work.column, heads.head_size);
}

// Writes dk and dv. A block's rows are keys, the columns of its tiles queries. Operands as above.
template <bool kBlock, bool kAlibi, typename T, typename Out>
GPU_KERNEL(kThreads)
GeneralKeyGradients(AttentionHeads heads, float scale, const T* __restrict__ qkv, KeyRows<const T> all_keys,
                    const T* __restrict__ dout, const int* __restrict__ lo, DistanceBias bias,
                    const AttentionStatistics* __restrict__ statistics, KeyRows<Out> gradients) {
  SMEM(SharedTile, shared, [1]);
  const Work work(heads.key_heads, all_keys.count, false);
  const auto keys = all_keys.KeysOf(work.head, heads, work.begin, work.end);
  const auto values = all_keys.ValuesOf(work.head, heads, work.begin, work.end);
  const Places<kBlock, kAlibi> row_places(bias.key_places, work.begin + ThreadY(), all_keys.count);
  // Whole tiles, so that the statistics' padding serves the last. hi never decreases either.
  const int query_begin =
      kBlock ? FirstBlindTo(work.begin, all_keys.hi, 0, heads.tokens) / kTile * kTile : work.begin;
  const int query_end = FirstBlindTo(work.end - 1, lo, kBlock ? 0 : work.begin, heads.tokens);
  Output dkeys = {}, dvalues = {};
  for (int head = work.head * heads.group(); head < (work.head + 1) * heads.group(); ++head) {
    for (int q = query_begin; q < query_end; q += kTile) {
      const auto queries = RowsOfHead(qkv, heads.columns(), heads.QueryColumn(head), q, query_end);
      const auto douts = RowsOfHead(dout, heads.out_columns(), heads.QueryColumn(head), q, query_end);
      const Places<kBlock, kAlibi> query_places(bias.query_places, q + ThreadX(), heads.tokens);
      Tile weights, dscores;
      Dots(weights, keys, queries, heads.head_size, shared[0]);
      Dots(dscores, values, douts, heads.head_size, shared[0]);
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        const int query = q + ThreadX() + kSide * j;
        const AttentionStatistics of_query = statistics[head * PaddedTokens(heads.tokens) + query];
        const int query_lo = lo[Min(query, heads.tokens - 1)];
        const int query_end_key = kBlock ? all_keys.hi[Min(query, heads.tokens - 1)] : query + 1;
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
          const int key = work.begin + ThreadY() + kSide * i;
          const bool sees = query_lo <= key && key < query_end_key;
          const float score = WithBias<kAlibi>(weights[i][j] * (scale * kLog2E), bias, head,
                                               row_places.of + i, query_places.of + j);
          weights[i][j] = sees ? exp2f(score - of_query.lse) : 0.0f;
          dscores[i][j] = weights[i][j] * (dscores[i][j] - of_query.delta);
        }
      }
      AddWeighted(dvalues, weights, douts, work.column, heads.head_size, shared[0]);
      AddWeighted(dkeys, dscores, queries, work.column, heads.head_size, shared[0]);
    }
  }
  Out* const target = gradients.data + work.begin * gradients.columns;
  const float one[kEach] = {1, 1, 1, 1};
  const float factor[kEach] = {scale, scale, scale, scale};
  StoreOutput(dkeys, factor, target + gradients.KeyColumn(work.head, heads.head_size), gradients.columns,
              work.end - work.begin, work.column, heads.head_size);
  StoreOutput(dvalues, one, target + gradients.ValueColumn(work.head, heads), gradients.columns,
              work.end - work.begin, work.column, heads.head_size);
}

// Keys and values in a qkv, or in a value of their own.
template <typename T>
KeyRows<T> PackedKeys(const View& qkv, const AttentionHeads& heads) {
  return {qkv.as<T>(), heads.columns(), heads.query_heads, heads.tokens, nullptr};
}
template <typename T>
KeyRows<T> KeysApart(const View& kv, const int* hi) {
  CHECK_LT(kv.shape.rows(), int64_t{1} << 30) << "BlockAttention";
  return {kv.as<T>(), kv.shape.cols(), 0, static_cast<int>(kv.shape.rows()), hi};
}

template <bool kBlock, typename Out, typename T>
void LaunchForward(const KernelArguments& a, KeyRows<const T> keys, const int* lo) {
  const AttentionHeads heads(a.op, a.inputs[0]);
  ForBias(a, kBlock ? 4 : 2, [&](auto alibi, const DistanceBias& bias) {
    GPU_LAUNCH((GeneralForward<kBlock, decltype(alibi)::value, T, Out>),
               Work::Count(heads, heads.query_heads, heads.tokens), kThreads, 0, a.stream, heads,
               heads.scale() * kLog2E, a.inputs[0].as<const T>(), keys, lo, bias, a.outputs[0].as<Out>(),
               a.outputs[1].as<float>());
  });
}

template <bool kBlock, typename T, typename Out>
void LaunchBackward(const KernelArguments& a, KeyRows<const T> keys, const int* lo, int64_t dq_columns,
                    KeyRows<Out> gradients) {
  const AttentionHeads heads(a.op, a.inputs[1]);
  const auto* statistics = static_cast<const AttentionStatistics*>(a.workspace);
  ForBias(a, kBlock ? 7 : 5, [&](auto alibi, const DistanceBias& bias) {
    constexpr bool kAlibi = decltype(alibi)::value;
    GPU_LAUNCH((GeneralKeyGradients<kBlock, kAlibi, T, Out>), Work::Count(heads, heads.key_heads, keys.count),
               kThreads, 0, a.stream, heads, heads.scale(), a.inputs[1].as<const T>(), keys,
               a.inputs[0].as<const T>(), lo, bias, statistics, gradients);
    GPU_LAUNCH((GeneralQueryGradients<kBlock, kAlibi, T, Out>),
               Work::Count(heads, heads.query_heads, heads.tokens), kThreads, 0, a.stream, heads,
               heads.scale(), a.inputs[1].as<const T>(), keys, a.inputs[0].as<const T>(), lo, bias,
               statistics, a.outputs[0].as<Out>(), dq_columns);
  });
}

}  // namespace

void AttentionGeneral(const KernelArguments& a) {
  ForCudaFloat(a.outputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const AttentionHeads heads(a.op, a.inputs[0]);
    LaunchForward<false, T>(a, PackedKeys<const T>(a.inputs[0], heads), a.inputs[1].as<int>());
  });
}

void AttentionGradGeneral(const KernelArguments& a) {
  ForCudaFloat(a.outputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const AttentionHeads heads(a.op, a.inputs[1]);
    LaunchBackward<false, T, T>(a, PackedKeys<const T>(a.inputs[1], heads), a.inputs[4].as<int>(),
                                heads.columns(), PackedKeys<T>(a.outputs[0], heads));
  });
}

void BlockAttentionCuda(const KernelArguments& a) {
  if (a.inputs[0].shape.rows() == 0) return;
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    LaunchForward<true, float>(a, KeysApart<const T>(a.inputs[1], a.inputs[3].as<int>()),
                               a.inputs[2].as<int>());
  });
}

void BlockAttentionGradGeneral(const KernelArguments& a) {
  ForCudaFloat(a.inputs[1].dtype, [&](auto type) {
    using T = decltype(type);
    const AttentionHeads heads(a.op, a.inputs[1]);
    LaunchBackward<true, T, float>(a, KeysApart<const T>(a.inputs[4], a.inputs[6].as<int>()),
                                   a.inputs[5].as<int>(), heads.out_columns(),
                                   KeysApart<float>(a.outputs[1], nullptr));
  });
}

}  // namespace trireme
