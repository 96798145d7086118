// A stable radix sort of tokens by table row, least significant digit first: two passes for tables of up to
// 2^18 rows. A pass counts digits a chunk, forms from the counts where each chunk's tokens of each digit
// begin, and moves them. Floor of a pass, T tokens: 8 T bytes counting and 16 T moving, all in the cache:
// what it costs is its launches.
#include <glog/logging.h>

#include <limits>
#include <utility>

#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/sort_tokens.h"

namespace trireme {
namespace {

constexpr int kMaxDigitBits = 9;
constexpr int kMaxDigits = 1 << kMaxDigitBits;
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarpSize;
constexpr int kRounds = 8;  // of 32 tokens each, that a warp moves
constexpr int kTokensPerWarp = kRounds * kWarpSize;
constexpr int kChunk = kWarps * kTokensPerWarp;
constexpr int kScanThreads = 1024;

// What a pass reads: ids in the first one, else what the one before wrote.
struct Source {
  const int32_t* ids;
  int64_t first;
  uint32_t num_rows;
  const uint32_t* rows;
  const uint32_t* tokens;

  GPU_FN uint32_t row(int64_t i) const {
    if (rows != nullptr) return rows[i];
    const int64_t row = ids[i] - first;
    return row >= 0 && row < num_rows ? static_cast<uint32_t>(row) : num_rows;
  }
  GPU_FN uint32_t token(int64_t i) const { return tokens != nullptr ? tokens[i] : static_cast<uint32_t>(i); }
};

struct Digit {
  int shift;
  int bits;
  GPU_FN int operator()(uint32_t row) const { return static_cast<int>(row >> shift & ((1u << bits) - 1)); }
};

// counts[digit * chunks + chunk]: tokens of a chunk with a digit.
GPU_KERNEL(kThreads)
CountDigitsKernel(Source source, Digit digit, int64_t num_tokens, uint32_t* counts) {
  SMEM(uint32_t, of_digit, [kMaxDigits]);
  for (int d = static_cast<int>(threadIdx.x); d < 1 << digit.bits; d += kThreads) of_digit[d] = 0;
  __syncthreads();
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kChunk;
  const int64_t end = Min<int64_t>(num_tokens, begin + kChunk);
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    atomicAdd(&of_digit[digit(source.row(i))], 1u);
  }
  __syncthreads();
  for (int d = static_cast<int>(threadIdx.x); d < 1 << digit.bits; d += kThreads) {
    counts[int64_t{d} * gridDim.x + blockIdx.x] = of_digit[d];
  }
}

// Each of n counts becomes the sum of those before it. One block; a thread takes a contiguous part.
GPU_KERNEL(kScanThreads)
ScanKernel(int64_t n, uint32_t* counts) {
  SMEM(uint32_t, of_warps, [kWarpSize]);
  const int64_t part = CeilDiv<int64_t>(n, kScanThreads);
  const int64_t begin = Min<int64_t>(n, threadIdx.x * part);
  const int64_t end = Min<int64_t>(n, begin + part);
  uint32_t sum = 0;
  for (int64_t i = begin; i < end; ++i) sum += counts[i];
  const uint32_t inclusive = InclusiveWarpScan(sum);
  if (LaneId() == kWarpSize - 1) of_warps[WarpId()] = inclusive;
  __syncthreads();
  if (WarpId() == 0) of_warps[LaneId()] = InclusiveWarpScan(of_warps[LaneId()]);
  __syncthreads();
  uint32_t before = inclusive - sum + (WarpId() == 0 ? 0 : of_warps[WarpId() - 1]);
  for (int64_t i = begin; i < end; ++i) {
    const uint32_t count = counts[i];
    counts[i] = before;
    before += count;
  }
}

// The lanes of the warp whose digit is this lane's.
GPU_FN unsigned PeersOf(int digit, int bits) {
  unsigned peers = kFullMask;
  for (int b = 0; b < bits; ++b) {
    const bool set = (digit >> b & 1) != 0;
    const unsigned lanes = Ballot(set);
    peers &= set ? lanes : ~lanes;
  }
  return peers;
}

// `offsets` is what ScanKernel made of the counts. A warp's tokens are contiguous, and so are a round's.
// Lanes without a token stand behind all that have one: whatever they count, nobody reads.
GPU_KERNEL(kThreads)
MoveTokensKernel(Source source, Digit digit, int64_t num_tokens, const uint32_t* offsets, uint32_t* rows,
                 uint32_t* tokens) {
  SMEM(uint32_t, next, [kWarps][kMaxDigits]);  // first a warp's counts, then where its tokens go
  for (int i = static_cast<int>(threadIdx.x); i < kWarps * kMaxDigits; i += kThreads) (&next[0][0])[i] = 0;
  __syncthreads();
  const int64_t begin =
      static_cast<int64_t>(blockIdx.x) * kChunk + int64_t{WarpId()} * kTokensPerWarp + LaneId();
  uint32_t row[kRounds];
  uint32_t rank[kRounds];  // among the warp's tokens with the same digit
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const int64_t i = begin + round * kWarpSize;
    row[round] = i < num_tokens ? source.row(i) : 0;
    const int d = digit(row[round]);
    const unsigned peers = PeersOf(d, digit.bits);
    const unsigned before = peers & ((1u << LaneId()) - 1);
    rank[round] = next[WarpId()][d] + static_cast<uint32_t>(__popc(before));
    __syncwarp();  // all lanes have read
    if (before == 0) next[WarpId()][d] += static_cast<uint32_t>(__popc(peers));
    __syncwarp();
  }
  __syncthreads();
  for (int d = static_cast<int>(threadIdx.x); d < 1 << digit.bits; d += kThreads) {
    uint32_t offset = offsets[int64_t{d} * gridDim.x + blockIdx.x];
    for (int w = 0; w < kWarps; ++w) {
      const uint32_t count = next[w][d];
      next[w][d] = offset;
      offset += count;
    }
  }
  __syncthreads();
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const int64_t i = begin + round * kWarpSize;
    if (i >= num_tokens) continue;
    const uint32_t target = next[WarpId()][digit(row[round])] + rank[round];
    rows[target] = row[round];
    tokens[target] = source.token(i);
  }
}

// Passes that tell apart the rows 0 to num_rows, the last of which stands for no row.
struct Passes {
  explicit Passes(int64_t num_rows) {
    int row_bits = 1;
    while (num_rows >> row_bits != 0) ++row_bits;
    count = CeilDiv(row_bits, kMaxDigitBits);
    bits = CeilDiv(row_bits, count);
  }
  int count;
  int bits;
};

}  // namespace

int64_t SortTokensWorkspaceBytes(int64_t num_tokens, int64_t num_rows) {
  const int64_t counts = CeilDiv<int64_t>(num_tokens, kChunk) << Passes(num_rows).bits;
  return (4 * num_tokens + counts) * static_cast<int64_t>(sizeof(uint32_t));
}

SortedTokens SortTokens(const int32_t* ids, int64_t first, int64_t num_tokens, int64_t num_rows,
                        void* workspace, void* stream) {
  CHECK_LT(num_tokens, std::numeric_limits<int32_t>::max());
  CHECK_LT(num_rows, std::numeric_limits<int32_t>::max());
  const Passes passes(num_rows);
  const unsigned chunks = GridOf(CeilDiv<int64_t>(num_tokens, kChunk));
  auto* rows = static_cast<uint32_t*>(workspace);
  uint32_t* tokens = rows + num_tokens;
  uint32_t* other_rows = tokens + num_tokens;
  uint32_t* other_tokens = other_rows + num_tokens;
  uint32_t* counts = other_tokens + num_tokens;
  Source source = {ids, first, static_cast<uint32_t>(num_rows), nullptr, nullptr};
  for (int pass = 0; pass < passes.count; ++pass) {
    const Digit digit = {pass * passes.bits, passes.bits};
    GPU_LAUNCH(CountDigitsKernel, chunks, kThreads, 0, stream, source, digit, num_tokens, counts);
    GPU_LAUNCH(ScanKernel, 1, kScanThreads, 0, stream, int64_t{chunks} << digit.bits, counts);
    GPU_LAUNCH(MoveTokensKernel, chunks, kThreads, 0, stream, source, digit, num_tokens, counts, rows,
               tokens);
    source.rows = rows;
    source.tokens = tokens;
    std::swap(rows, other_rows);
    std::swap(tokens, other_tokens);
  }
  return {source.rows, source.tokens};
}

}  // namespace trireme
