#include "runtime/token_order.h"

#include <glog/logging.h>

namespace trireme {
namespace {

// How many of a rank's tokens stand before `stream_index`.
int64_t TokensBefore(const TokenOrder& order, int64_t rank, int64_t stream_index) {
  int64_t begin = 0, end = order.tokens_here();
  while (begin < end) {
    const int64_t middle = (begin + end) / 2;
    if (order.StreamIndex(rank, middle) < stream_index) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

}  // namespace

std::vector<int32_t> RingSpans(const std::vector<int32_t>& lo, const TokenOrder& order, int64_t rank) {
  CHECK_EQ(lo.size(), order.tokens);
  const int64_t here = order.tokens_here();
  std::vector<int32_t> spans(order.ranks * 2 * here);
  for (int64_t hop = 0; hop < order.ranks; ++hop) {
    const int64_t source = (rank + order.ranks - hop) % order.ranks;
    int32_t* of_hop = spans.data() + hop * 2 * here;
    for (int64_t i = 0; i < here; ++i) {
      const int64_t query = order.StreamIndex(rank, i);
      of_hop[i] = static_cast<int32_t>(TokensBefore(order, source, lo[query]));
      of_hop[here + i] = static_cast<int32_t>(TokensBefore(order, source, query + 1));
    }
  }
  return spans;
}

std::vector<int32_t> RingPlaces(const TokenOrder& order, int64_t rank) {
  std::vector<int32_t> places;
  for (int64_t hop = 0; hop < order.ranks; ++hop) {
    const int64_t source = (rank + order.ranks - hop) % order.ranks;
    for (int64_t i = 0; i < order.tokens_here(); ++i) {
      places.push_back(static_cast<int32_t>(order.StreamIndex(source, i)));
    }
  }
  return places;
}

}  // namespace trireme
