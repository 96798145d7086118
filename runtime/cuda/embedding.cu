// Embedding look-up and its gradient. ids i32 [T]; table [V, D], x and dy [T, D] of s bytes; dtable [V, D]
// f32. Floors, U distinct rows: look-up 2 s T D bytes; gradient s T D + 8 U D (overwriting: s T D + 4 V D).
//
// The gradient adds no two floats in an order that chance decides: tokens are sorted by row (sort_tokens.cu),
// and a block adds up a chunk of kChunk of them. What a row gets within one chunk is written at once; where a
// row's tokens continue into the next chunk, each chunk leaves its part in the workspace, and a second kernel
// adds them in order.
#include <glog/logging.h>

#include "runtime/cuda/gather_rows.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/parts.h"
#include "runtime/cuda/sort_tokens.h"

namespace trireme {
namespace {

constexpr int kThreads = 128;
constexpr int kChunk = 32;         // sorted tokens of a block
constexpr int kTokensAtATime = 8;  // that a thread loads before it adds them
constexpr uint32_t kNoRow = 0xffffffffu;

// The gradient's operands. Partial sums [chunks][2][cols]: of the row that a chunk shares with the one before
// it, and of the row that begins in it and goes on in the next.
struct EmbeddingGradShape {
  int64_t tiles;  // of a row
  int64_t num_tokens;
  uint32_t num_rows;
  int64_t cols;
  bool accumulate;
};

template <bool kAligned, int N>
GPU_FN void Deliver(float* target, Vec<float, N> sum, int64_t count, bool accumulate) {
  if (accumulate) {
    const Vec<float, N> before = LoadPart<kAligned, N>(target, count);
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] += before[i];
  }
  StorePart<kAligned>(target, sum, count);
}

template <bool kAligned, typename T>
GPU_KERNEL(kThreads)
EmbeddingGradKernel(EmbeddingGradShape s, SortedTokens sorted, const T* dy, float* dtable, float* partials) {
  constexpr int N = kVectorSize<T>;
  SMEM(uint32_t, rows, [kChunk + 2]);  // of the token before the chunk, of the chunk's, of the one after it
  SMEM(uint32_t, tokens, [kChunk]);
  const int64_t chunk = blockIdx.x / s.tiles;
  const int64_t column = ((blockIdx.x - chunk * s.tiles) * kThreads + threadIdx.x) * N;
  const int64_t begin = chunk * kChunk;
  for (int i = static_cast<int>(threadIdx.x); i < kChunk + 2; i += kThreads) {
    const int64_t at = begin + i - 1;
    rows[i] = at >= 0 && at < s.num_tokens ? sorted.rows[at] : kNoRow;
    if (i < kChunk && begin + i < s.num_tokens) tokens[i] = sorted.tokens[begin + i];
  }
  __syncthreads();
  const int count = static_cast<int>(Min<int64_t>(kChunk, s.num_tokens - begin));
  const int64_t rest = s.cols - column;
  bool shared = rows[0] == rows[1];  // whether the row at hand began before this chunk
  Vec<float, N> sum = {};
  for (int first = 0; first < count; first += kTokensAtATime) {
    Vec<T, N> loaded[kTokensAtATime];
#pragma unroll
    for (int j = 0; j < kTokensAtATime; ++j) {
      const bool exists = first + j < count && rows[first + j + 1] < s.num_rows;
      const int64_t at = exists ? tokens[first + j] * s.cols + column : 0;
      loaded[j] = LoadPart<kAligned, N>(dy + at, exists ? rest : 0);
    }
#pragma unroll
    for (int j = 0; j < kTokensAtATime; ++j) {
      const uint32_t row = rows[Min(first + j, count - 1) + 1];
      if (first + j >= count || row >= s.num_rows) break;
#pragma unroll
      for (int i = 0; i < N; ++i) sum[i] += ToFloat(loaded[j][i]);
      const bool last = first + j == count - 1;
      const uint32_t next = rows[first + j + 2];
      if (!last && next == row) continue;
      if (GPU_BRANCH(several_chunks, shared || next == row)) {
        StorePart<kAligned>(partials + (2 * chunk + (shared ? 0 : 1)) * s.cols + column, sum, rest);
      } else {
        Deliver<kAligned>(dtable + row * s.cols + column, sum, rest, s.accumulate);
      }
      shared = false;
      sum = {};
    }
  }
}

// Adds up a row whose tokens lie in several chunks. The block of the chunk in which it begins does.
template <bool kAligned, int N>
GPU_KERNEL(kThreads)
JoinChunksKernel(EmbeddingGradShape s, SortedTokens sorted, const float* partials, float* dtable) {
  const int64_t chunk = blockIdx.x / s.tiles;
  const int64_t column = ((blockIdx.x - chunk * s.tiles) * kThreads + threadIdx.x) * N;
  const int64_t begin = chunk * kChunk;
  const int64_t end = begin + kChunk;
  if (end >= s.num_tokens) return;
  const uint32_t row = sorted.rows[end - 1];
  if (row >= s.num_rows || sorted.rows[end] != row) return;
  if (begin > 0 && sorted.rows[begin - 1] == row) return;
  // The last chunk that begins with this row.
  int64_t last = chunk + 1;
  int64_t beyond = CeilDiv<int64_t>(s.num_tokens, kChunk);
  while (beyond - last > 1) {
    const int64_t middle = (last + beyond) / 2;
    if (GPU_BRANCH(further_chunks, sorted.rows[middle * kChunk] == row)) {
      last = middle;
    } else {
      beyond = middle;
    }
  }
  const int64_t rest = s.cols - column;
  Vec<float, N> sum = LoadPart<kAligned, N>(partials + (2 * chunk + 1) * s.cols + column, rest);
#pragma unroll 4
  for (int64_t c = chunk + 1; c <= last; ++c) {
    const Vec<float, N> part = LoadPart<kAligned, N>(partials + 2 * c * s.cols + column, rest);
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] += part[i];
  }
  Deliver<kAligned>(dtable + row * s.cols + column, sum, rest, s.accumulate);
}

// The row of the whole table that is this rank's first.
int64_t FirstLocalRow(const KernelArguments& a, int64_t rows) {
  return a.op.attributes.Int("sharded") != 0 ? a.coordinate[Axis::kTp] * rows : 0;
}

// The sort's part of the workspace, rounded up so that the partial sums behind it are aligned.
int64_t SortBytes(int64_t tokens, int64_t rows) {
  return CeilDiv<int64_t>(SortTokensWorkspaceBytes(tokens, rows), 16) * 16;
}

}  // namespace

void EmbeddingCuda(const KernelArguments& a) {
  const View& table = a.inputs[1];
  GatherRows(table, {a.inputs[0].as<const int32_t>()}, FirstLocalRow(a, table.shape.rows()), a.outputs[0],
             a.stream);
}

int64_t EmbeddingGradCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int num_threads) {
  (void)op;
  (void)num_threads;
  const int64_t tokens = inputs[0].shape.rows();
  const int64_t chunks = CeilDiv<int64_t>(tokens, kChunk);
  return SortBytes(tokens, outputs[0].shape.rows()) +
         chunks * 2 * inputs[0].shape.cols() * static_cast<int64_t>(sizeof(float));
}

void EmbeddingGradCuda(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  const int64_t tokens = shape.rows();
  const int64_t cols = shape.cols();
  const int64_t rows = a.outputs[0].shape.rows();
  float* dtable = WideOf(a.outputs[0]);
  if (!a.accumulate) {
    CHECK_EQ(cudaMemsetAsync(dtable, 0, rows * cols * sizeof(float), static_cast<cudaStream_t>(a.stream)),
             cudaSuccess);
  }
  const SortedTokens sorted = SortTokens(a.inputs[1].as<const int32_t>(), FirstLocalRow(a, rows), tokens,
                                         rows, a.workspace, a.stream);
  auto* partials = reinterpret_cast<float*>(static_cast<char*>(a.workspace) + SortBytes(tokens, rows));
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int N = kVectorSize<T>;
    const T* dy = a.inputs[0].as<T>();
    const EmbeddingGradShape s = {.tiles = CeilDiv<int64_t>(cols, kThreads * N),
                                  .num_tokens = tokens,
                                  .num_rows = static_cast<uint32_t>(rows),
                                  .cols = cols,
                                  .accumulate = a.accumulate};
    const bool aligned = IsVectorAligned(dy, cols) && IsVectorAligned(dtable);
    const unsigned grid = GridOf(CeilDiv<int64_t>(tokens, kChunk) * s.tiles);
    const auto sum = aligned ? EmbeddingGradKernel<true, T> : EmbeddingGradKernel<false, T>;
    GPU_LAUNCH(sum, grid, kThreads, 0, a.stream, s, sorted, dy, dtable, partials);
    const auto join = aligned ? JoinChunksKernel<true, N> : JoinChunksKernel<false, N>;
    GPU_LAUNCH(join, grid, kThreads, 0, a.stream, s, sorted, partials, dtable);
  });
}

}  // namespace trireme
