// Collectives of a warp and barriers of the block, under CUDA's names, and the warp sums of
// runtime/cuda/gpu.h.
#ifndef TRIREME_TESTS_EMULATOR_WARP_H_
#define TRIREME_TESTS_EMULATOR_WARP_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/emulator/block.h"

namespace trireme::emulator {

// Rows of WarpExchange::words: the value (two rows for 8 bytes), what a lane asks for, and the group of
// lanes.
inline constexpr int kArgumentRow = 14;
inline constexpr int kWidthRow = 15;

// Of values of 4 and of 8 bytes.
extern const WarpOp kShuffle[2];
extern const WarpOp kShuffleUp[2];
extern const WarpOp kShuffleDown[2];
extern const WarpOp kShuffleXor[2];
extern const WarpOp kSyncWarp;
extern const WarpOp kBallot;
extern const WarpOp kAny;
extern const WarpOp kAll;

// Reductions of __reduce_*_sync and of WarpSum and WarpMax; defined in warp_reductions.cc for the types in
// use.
template <typename T>
struct WarpReductions {
  static const WarpOp kSum;
  static const WarpOp kMax;
  static const WarpOp kReduceAdd;
  static const WarpOp kReduceMin;
  static const WarpOp kReduceMax;
};
extern template struct WarpReductions<float>;
extern template struct WarpReductions<double>;
extern template struct WarpReductions<int>;
extern template struct WarpReductions<unsigned>;
extern template struct WarpReductions<int64_t>;
extern template struct WarpReductions<uint64_t>;
extern template struct WarpReductions<long long>;
extern template struct WarpReductions<unsigned long long>;
extern const WarpOp kReduceAnd;
extern const WarpOp kReduceOr;
extern const WarpOp kReduceXor;

// Takes part in `op` with this value and these arguments, and returns what the lane's column then holds.
template <typename T>
TRIREME_NOT_OF_THE_KERNEL T CollectValue(const WarpOp& op, uint32_t mask, T value, int argument, int width,
                                         Site site) {
  static_assert(sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);
  Block& block = CurrentBlock();
  const int lane = block.current().lane();
  WarpExchange& exchange = block.warp_of(block.current()).exchange;
  uint32_t words[2] = {0, 0};
  std::memcpy(words, &value, sizeof(T));
  exchange.words[0][lane] = words[0];
  if (sizeof(T) == 8) exchange.words[1][lane] = words[1];
  exchange.words[kArgumentRow][lane] = static_cast<uint32_t>(argument);
  exchange.words[kWidthRow][lane] = static_cast<uint32_t>(width);
  block.Collect(op, mask, site);
  words[0] = exchange.words[0][lane];
  words[1] = exchange.words[1][lane];
  std::memcpy(&value, words, sizeof(T));
  return value;
}

inline int SyncThreads(bool predicate, const char* name, Site site) {
  Block& block = CurrentBlock();
  return block.Arrive(0, block.num_threads(), true, predicate, name, site);
}

}  // namespace trireme::emulator

// CUDA's names. NOLINTBEGIN(bugprone-reserved-identifier)
inline void __syncthreads(trireme::emulator::Site site = trireme::emulator::Site::current()) {
  trireme::emulator::SyncThreads(false, "__syncthreads", site);
}
inline int __syncthreads_count(int predicate,
                               trireme::emulator::Site site = trireme::emulator::Site::current()) {
  return trireme::emulator::SyncThreads(predicate != 0, "__syncthreads_count", site);
}
inline int __syncthreads_or(int predicate,
                            trireme::emulator::Site site = trireme::emulator::Site::current()) {
  return trireme::emulator::SyncThreads(predicate != 0, "__syncthreads_or", site) > 0 ? 1 : 0;
}
inline int __syncthreads_and(int predicate,
                             trireme::emulator::Site site = trireme::emulator::Site::current()) {
  return trireme::emulator::SyncThreads(predicate == 0, "__syncthreads_and", site) == 0 ? 1 : 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu,
                       trireme::emulator::Site site = trireme::emulator::Site::current()) {
  trireme::emulator::CurrentBlock().Collect(trireme::emulator::kSyncWarp, mask, site);
}

#define TRIREME_EMULATOR_SHUFFLE(name, op)                                                               \
  template <typename T>                                                                                  \
  T name(unsigned mask, T value, int argument, int width = 32,                                           \
         trireme::emulator::Site site = trireme::emulator::Site::current()) {                            \
    return trireme::emulator::CollectValue(trireme::emulator::op[sizeof(T) == 8], mask, value, argument, \
                                           width, site);                                                 \
  }
TRIREME_EMULATOR_SHUFFLE(__shfl_sync, kShuffle)
TRIREME_EMULATOR_SHUFFLE(__shfl_up_sync, kShuffleUp)
TRIREME_EMULATOR_SHUFFLE(__shfl_down_sync, kShuffleDown)
TRIREME_EMULATOR_SHUFFLE(__shfl_xor_sync, kShuffleXor)
#undef TRIREME_EMULATOR_SHUFFLE

#define TRIREME_EMULATOR_VOTE(type, name, op)                                                         \
  inline type name(unsigned mask, int predicate,                                                      \
                   trireme::emulator::Site site = trireme::emulator::Site::current()) {               \
    return static_cast<type>(trireme::emulator::CollectValue(trireme::emulator::op, mask,             \
                                                             predicate != 0 ? 1u : 0u, 0, 32, site)); \
  }
TRIREME_EMULATOR_VOTE(unsigned, __ballot_sync, kBallot)
TRIREME_EMULATOR_VOTE(int, __any_sync, kAny)
TRIREME_EMULATOR_VOTE(int, __all_sync, kAll)
#undef TRIREME_EMULATOR_VOTE

#define TRIREME_EMULATOR_REDUCE(type, name, op)                                              \
  inline type name(unsigned mask, type value,                                                \
                   trireme::emulator::Site site = trireme::emulator::Site::current()) {      \
    return trireme::emulator::CollectValue(trireme::emulator::op, mask, value, 0, 32, site); \
  }
TRIREME_EMULATOR_REDUCE(int, __reduce_add_sync, WarpReductions<int>::kReduceAdd)
TRIREME_EMULATOR_REDUCE(int, __reduce_min_sync, WarpReductions<int>::kReduceMin)
TRIREME_EMULATOR_REDUCE(int, __reduce_max_sync, WarpReductions<int>::kReduceMax)
TRIREME_EMULATOR_REDUCE(unsigned, __reduce_add_sync, WarpReductions<unsigned>::kReduceAdd)
TRIREME_EMULATOR_REDUCE(unsigned, __reduce_min_sync, WarpReductions<unsigned>::kReduceMin)
TRIREME_EMULATOR_REDUCE(unsigned, __reduce_max_sync, WarpReductions<unsigned>::kReduceMax)
TRIREME_EMULATOR_REDUCE(unsigned, __reduce_and_sync, kReduceAnd)
TRIREME_EMULATOR_REDUCE(unsigned, __reduce_or_sync, kReduceOr)
TRIREME_EMULATOR_REDUCE(unsigned, __reduce_xor_sync, kReduceXor)
#undef TRIREME_EMULATOR_REDUCE
// NOLINTEND(bugprone-reserved-identifier)

namespace trireme {

inline constexpr unsigned kFullMask = 0xffffffffu;

template <typename T>
T Shuffle(T value, int lane, emulator::Site site = emulator::Site::current()) {
  return __shfl_sync(kFullMask, value, lane, 32, site);
}
template <typename T>
T ShuffleXor(T value, int lane_mask, emulator::Site site = emulator::Site::current()) {
  return __shfl_xor_sync(kFullMask, value, lane_mask, 32, site);
}
template <typename T>
T ShuffleUp(T value, int delta, emulator::Site site = emulator::Site::current()) {
  return __shfl_up_sync(kFullMask, value, delta, 32, site);
}
template <typename T>
T ShuffleDown(T value, int delta, emulator::Site site = emulator::Site::current()) {
  return __shfl_down_sync(kFullMask, value, delta, 32, site);
}
inline unsigned Ballot(bool predicate, emulator::Site site = emulator::Site::current()) {
  return __ballot_sync(kFullMask, predicate ? 1 : 0, site);
}

// One exchange that adds in the order of the five shuffles it stands for.
template <int kLanes = 32, typename T>
T WarpSum(T value, emulator::Site site = emulator::Site::current()) {
  return emulator::CollectValue(emulator::WarpReductions<T>::kSum, kFullMask, value, 0, kLanes, site);
}
template <int kLanes = 32, typename T>
T WarpMax(T value, emulator::Site site = emulator::Site::current()) {
  return emulator::CollectValue(emulator::WarpReductions<T>::kMax, kFullMask, value, 0, kLanes, site);
}

}  // namespace trireme

#endif  // TRIREME_TESTS_EMULATOR_WARP_H_
