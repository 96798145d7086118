// What the last lane to arrive does for a shuffle, a vote or a reduction.
#include "tests/emulator/warp.h"

#include <bit>

namespace trireme::emulator {
namespace {

template <typename F>
void ForLanes(uint32_t mask, F f) {
  for (; mask != 0; mask &= mask - 1) f(std::countr_zero(mask));
}

enum class Source { kIndex, kUp, kDown, kXor };

// Which lane the PTX instruction shfl reads for `lane` of its group of `width`; its own where that is
// outside.
int SourceLane(Source source, int lane, int argument, int width) {
  const int first = lane / width * width;
  switch (source) {
    case Source::kIndex:
      return first + (argument & (width - 1));
    case Source::kUp:
      return lane - argument >= first ? lane - argument : lane;
    case Source::kDown:
      return lane + argument < first + width ? lane + argument : lane;
    case Source::kXor:
      return (lane ^ argument) < first + width ? lane ^ argument : lane;
  }
  return lane;
}

template <Source kSource, int kWords>
void CompleteShuffle(WarpExchange& exchange, uint32_t mask) {
  uint32_t before[kWords][kLanes];
  std::memcpy(before, exchange.words, sizeof(before));
  ForLanes(mask, [&](int lane) {
    const int width = static_cast<int>(exchange.words[kWidthRow][lane]);
    const int argument = static_cast<int>(exchange.words[kArgumentRow][lane]);
    Block& block = CurrentBlock();
    if (width <= 0 || width > kLanes || !std::has_single_bit(static_cast<unsigned>(width)))
      block.Fail("a shuffle of width " + std::to_string(width), block.current().site);
    const int from = SourceLane(kSource, lane, argument, width) & (kLanes - 1);
    if ((mask >> from & 1) == 0)
      block.Fail("a shuffle reads lane " + std::to_string(from) + ", which its mask does not have",
                 block.current().site);
    for (int word = 0; word < kWords; ++word) exchange.words[word][lane] = before[word][from];
  });
}

uint32_t TrueLanes(const WarpExchange& exchange, uint32_t mask) {
  uint32_t lanes = 0;
  ForLanes(mask, [&](int lane) { lanes |= exchange.words[0][lane] << lane; });
  return lanes;
}

void SetAll(WarpExchange& exchange, uint32_t mask, uint32_t value) {
  ForLanes(mask, [&](int lane) { exchange.words[0][lane] = value; });
}

void CompleteBallot(WarpExchange& exchange, uint32_t mask) {
  SetAll(exchange, mask, TrueLanes(exchange, mask));
}
void CompleteAny(WarpExchange& exchange, uint32_t mask) {
  SetAll(exchange, mask, TrueLanes(exchange, mask) != 0 ? 1 : 0);
}
void CompleteAll(WarpExchange& exchange, uint32_t mask) {
  SetAll(exchange, mask, TrueLanes(exchange, mask) == mask ? 1 : 0);
}

template <typename T>
T Get(const WarpExchange& exchange, int lane) {
  const uint32_t words[2] = {exchange.words[0][lane], exchange.words[1][lane]};
  T value;
  std::memcpy(&value, words, sizeof(T));
  return value;
}
template <typename T>
void Set(WarpExchange& exchange, int lane, T value) {
  uint32_t words[2] = {0, 0};
  std::memcpy(words, &value, sizeof(T));
  exchange.words[0][lane] = words[0];
  if (sizeof(T) == 8) exchange.words[1][lane] = words[1];
}

struct Add {
  template <typename T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Minimum {
  template <typename T>
  T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};
struct Maximum {
  template <typename T>
  T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

// The butterfly of WarpSum: each lane combines its own value with that of lane ^ 16, then ^ 8, 4, 2, 1.
template <typename T, typename Combine>
void CompleteButterfly(WarpExchange& exchange, uint32_t mask) {
  T values[kLanes];
  T next[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) values[lane] = Get<T>(exchange, lane);
  const int width = static_cast<int>(exchange.words[kWidthRow][std::countr_zero(mask)]);
  for (int distance = width / 2; distance > 0; distance /= 2) {
    for (int lane = 0; lane < kLanes; ++lane) next[lane] = Combine()(values[lane], values[lane ^ distance]);
    std::memcpy(values, next, sizeof(values));
  }
  for (int lane = 0; lane < kLanes; ++lane) Set<T>(exchange, lane, values[lane]);
}

template <typename T, typename Combine>
void CompleteReduce(WarpExchange& exchange, uint32_t mask) {
  T result = Get<T>(exchange, std::countr_zero(mask));
  ForLanes(mask & (mask - 1), [&](int lane) { result = Combine()(result, Get<T>(exchange, lane)); });
  ForLanes(mask, [&](int lane) { Set<T>(exchange, lane, result); });
}

struct And {
  unsigned operator()(unsigned a, unsigned b) const { return a & b; }
};
struct Or {
  unsigned operator()(unsigned a, unsigned b) const { return a | b; }
};
struct Xor {
  unsigned operator()(unsigned a, unsigned b) const { return a ^ b; }
};

}  // namespace

const WarpOp kShuffle[2] = {{"__shfl_sync", CompleteShuffle<Source::kIndex, 1>},
                            {"__shfl_sync (8 bytes)", CompleteShuffle<Source::kIndex, 2>}};
const WarpOp kShuffleUp[2] = {{"__shfl_up_sync", CompleteShuffle<Source::kUp, 1>},
                              {"__shfl_up_sync (8 bytes)", CompleteShuffle<Source::kUp, 2>}};
const WarpOp kShuffleDown[2] = {{"__shfl_down_sync", CompleteShuffle<Source::kDown, 1>},
                                {"__shfl_down_sync (8 bytes)", CompleteShuffle<Source::kDown, 2>}};
const WarpOp kShuffleXor[2] = {{"__shfl_xor_sync", CompleteShuffle<Source::kXor, 1>},
                               {"__shfl_xor_sync (8 bytes)", CompleteShuffle<Source::kXor, 2>}};
const WarpOp kSyncWarp = {"__syncwarp", nullptr};
const WarpOp kBallot = {"__ballot_sync", CompleteBallot};
const WarpOp kAny = {"__any_sync", CompleteAny};
const WarpOp kAll = {"__all_sync", CompleteAll};

template <typename T>
const WarpOp WarpReductions<T>::kSum = {"WarpSum", CompleteButterfly<T, Add>};
template <typename T>
const WarpOp WarpReductions<T>::kMax = {"WarpMax", CompleteButterfly<T, Maximum>};
template <typename T>
const WarpOp WarpReductions<T>::kReduceAdd = {"__reduce_add_sync", CompleteReduce<T, Add>};
template <typename T>
const WarpOp WarpReductions<T>::kReduceMin = {"__reduce_min_sync", CompleteReduce<T, Minimum>};
template <typename T>
const WarpOp WarpReductions<T>::kReduceMax = {"__reduce_max_sync", CompleteReduce<T, Maximum>};
template struct WarpReductions<float>;
template struct WarpReductions<double>;
template struct WarpReductions<int>;
template struct WarpReductions<unsigned>;
template struct WarpReductions<int64_t>;
template struct WarpReductions<uint64_t>;
template struct WarpReductions<long long>;
template struct WarpReductions<unsigned long long>;

const WarpOp kReduceAnd = {"__reduce_and_sync", CompleteReduce<unsigned, And>};
const WarpOp kReduceOr = {"__reduce_or_sync", CompleteReduce<unsigned, Or>};
const WarpOp kReduceXor = {"__reduce_xor_sync", CompleteReduce<unsigned, Xor>};

}  // namespace trireme::emulator
