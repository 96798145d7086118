#include "runtime/token_order.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace trireme {
namespace {

TEST(TokenOrderTest, RanksShareTheStreamInAscendingOrder) {
  for (const bool balanced : {false, true}) {
    const TokenOrder order = {24, 3, balanced};
    std::vector<int> seen(order.tokens);
    for (int64_t rank = 0; rank < order.ranks; ++rank) {
      for (int64_t i = 0; i < order.tokens_here(); ++i) {
        ++seen[order.StreamIndex(rank, i)];
        EXPECT_EQ(order.GatheredIndex(order.StreamIndex(rank, i)), rank * order.tokens_here() + i);
        if (i == 0) continue;
        EXPECT_GT(order.StreamIndex(rank, i), order.StreamIndex(rank, i - 1));
      }
    }
    EXPECT_EQ(seen, std::vector<int>(order.tokens, 1));
  }
}

// A causal sequence, packed documents, a sliding window: each pair of a query and a key counts once, on the
// rank that has the query, in the hop that brings the key.
TEST(TokenOrderTest, EveryQuerySeesItsKeysInSomeHop) {
  const TokenOrder order = {24, 3, true};
  std::vector<int32_t> causal(order.tokens), documents(order.tokens), window(order.tokens);
  for (int32_t t = 0; t < order.tokens; ++t) {
    documents[t] = t < 5 ? 0 : t < 17 ? 5 : 17;
    window[t] = std::max(documents[t], t - 3);
  }
  for (const std::vector<int32_t>& lo : {causal, documents, window}) {
    for (int64_t rank = 0; rank < order.ranks; ++rank) {
      const std::vector<int32_t> spans = RingSpans(lo, order, rank);
      const int64_t here = order.tokens_here();
      for (int64_t i = 0; i < here; ++i) {
        const int64_t query = order.StreamIndex(rank, i);
        std::vector<int64_t> keys;
        for (int64_t hop = 0; hop < order.ranks; ++hop) {
          const int32_t* of_hop = spans.data() + hop * 2 * here;
          for (int64_t k = of_hop[i]; k < of_hop[here + i]; ++k) {
            keys.push_back(order.StreamIndex((rank + order.ranks - hop) % order.ranks, k));
          }
        }
        std::sort(keys.begin(), keys.end());
        ASSERT_EQ(keys.size(), query + 1 - lo[query]) << "query " << query;
        for (size_t k = 0; k < keys.size(); ++k) EXPECT_EQ(keys[k], lo[query] + static_cast<int64_t>(k));
      }
    }
  }
}

TEST(TokenOrderTest, PlacesAreThoseOfTheRankThatEachHopBrings) {
  const TokenOrder order = {12, 3, true};
  EXPECT_EQ(RingPlaces(order, 1), std::vector<int32_t>({2, 3, 8, 9, 0, 1, 10, 11, 4, 5, 6, 7}));
}

TEST(TokenOrderTest, BalancedRanksOfACausalSequenceHaveEqualWork) {
  const TokenOrder order = {64, 4, true};
  const std::vector<int32_t> lo(order.tokens);
  for (int64_t rank = 0; rank < order.ranks; ++rank) {
    const std::vector<int32_t> spans = RingSpans(lo, order, rank);
    const int64_t here = order.tokens_here();
    int64_t pairs = 0;
    for (int64_t hop = 0; hop < order.ranks; ++hop) {
      for (int64_t i = 0; i < here; ++i) pairs += spans[(2 * hop + 1) * here + i] - spans[2 * hop * here + i];
    }
    EXPECT_EQ(pairs, 64 * 65 / 2 / 4);
  }
}

}  // namespace
}  // namespace trireme
