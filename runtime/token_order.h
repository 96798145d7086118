// Which tokens of a replica's micro-batch a rank of cp has, and in which order.
#ifndef TRIREME_RUNTIME_TOKEN_ORDER_H_
#define TRIREME_RUNTIME_TOKEN_ORDER_H_

#include <cstdint>
#include <vector>

namespace trireme {

// The stream is the micro-batch's tokens, sequence by sequence. Every rank has as many, in ascending order:
// the r-th of `ranks` equal parts, or, balanced, the chunks r and 2 ranks - 1 - r of 2 ranks equal ones.
// Queries of a causal sequence see the more the later they stand, so the balanced ranks have equal work.
// Source: arXiv:2311.09431.
struct TokenOrder {
  int64_t tokens = 0;  // of the stream; `ranks` divides it, balanced 2 ranks
  int64_t ranks = 1;
  bool balanced = false;

  constexpr int64_t tokens_here() const { return tokens / ranks; }
  // Where in the stream the i-th token of a rank stands.
  constexpr int64_t StreamIndex(int64_t rank, int64_t i) const {
    const int64_t here = tokens_here();
    if (!balanced) return rank * here + i;
    const int64_t chunk = here / 2;
    return i < chunk ? rank * chunk + i : (2 * ranks - 1 - rank) * chunk + i - chunk;
  }

  // Where the token at `stream_index` stands among all ranks' tokens, one rank's behind the other's.
  constexpr int64_t GatheredIndex(int64_t stream_index) const {
    if (!balanced) return stream_index;
    const int64_t chunk = tokens_here() / 2;
    const int64_t number = stream_index / chunk, in_chunk = stream_index - number * chunk;
    return number < ranks ? number * 2 * chunk + in_chunk
                          : (2 * ranks - 1 - number) * 2 * chunk + chunk + in_chunk;
  }
};

// What the queries of `rank` see of each rank's tokens, by ops/ring_attention.h: for hop h, of the tokens of
// rank - h (in a ring), lo and then hi of every query, counted in that rank's order.
//   lo   [tokens], in the stream: token t sees [lo[t], t]; non-decreasing
// Returns [ranks * 2 * tokens_here]. What a query sees of a rank is one range, as both orders ascend.
std::vector<int32_t> RingSpans(const std::vector<int32_t>& lo, const TokenOrder& order, int64_t rank);

// Where in the stream the tokens stand that `rank` has in each hop: rank - h's in hop h, its own first.
// Returns [ranks * tokens_here].
std::vector<int32_t> RingPlaces(const TokenOrder& order, int64_t rank);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_TOKEN_ORDER_H_
