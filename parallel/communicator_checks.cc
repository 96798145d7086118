#include "parallel/communicator_checks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "parallel/reduction.h"
#include "runtime/random.h"

namespace trireme {
namespace {

// Of one rank's part of a collective. The last are several pieces where pieces are small.
constexpr int64_t kCounts[] = {0, 1, 2, 7, 1023, 20003, 150001};

// Numbers whose sum depends on the order of the terms, different for each rank, purpose and index.
template <typename T>
T Value(int rank, int salt, int64_t index) {
  const uint64_t bits = (static_cast<uint64_t>(rank) * 1000003u + salt * 7919u + index) * 0x9E3779B97F4A7C15u;
  const uint64_t mixed = (bits ^ (bits >> 29)) * 0xBF58476D1CE4E5B9u;
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(mixed >> 7);
  } else {
    const double mantissa = static_cast<double>(static_cast<int64_t>(mixed) >> 11) * 0x1p-52;
    return static_cast<T>(static_cast<float>(std::ldexp(mantissa, static_cast<int>(mixed % 24) - 12)));
  }
}

template <typename T>
std::vector<T> Values(int rank, int salt, int64_t count) {
  std::vector<T> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = Value<T>(rank, salt, i);
  return values;
}

// The definition of a reduction of elements `begin` and following of every rank's values.
template <typename T>
std::vector<T> Reduced(int num_ranks, int salt, int64_t begin, int64_t count, ReduceOp op) {
  using Accumulator = std::conditional_t<std::is_same_v<T, Bf16>, float, T>;
  std::vector<T> result(count);
  for (int64_t i = 0; i < count; ++i) {
    Accumulator total = static_cast<Accumulator>(Value<T>(0, salt, begin + i));
    for (int rank = 1; rank < num_ranks; ++rank) {
      const Accumulator next = static_cast<Accumulator>(Value<T>(rank, salt, begin + i));
      if (op == ReduceOp::kMax) {
        total = std::max(total, next);
      } else if constexpr (std::is_integral_v<T>) {
        total = static_cast<T>(static_cast<uint64_t>(total) + static_cast<uint64_t>(next));
      } else {
        total += next;
      }
    }
    result[i] = static_cast<T>(total);
  }
  return result;
}

template <typename T>
void ExpectSameBits(const std::vector<T>& found, const std::vector<T>& expected, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  if (found.empty() || std::memcmp(found.data(), expected.data(), found.size() * sizeof(T)) == 0) return;
  int64_t i = 0;
  while (std::memcmp(&found[i], &expected[i], sizeof(T)) == 0) ++i;
  ADD_FAILURE() << what << ": element " << i << " of " << found.size() << " is "
                << static_cast<double>(static_cast<float>(found[i])) << ", expected "
                << static_cast<double>(static_cast<float>(expected[i]));
}

template <typename T>
std::string Label(const char* what, const Communicator& group, int64_t count) {
  return absl::StrCat(what, " of ", count, " ", Name(kDTypeOf<T>), ", rank ", group.rank(), " of ",
                      group.size());
}

template <typename Check>
void ForEachReducibleDType(Check check) {
  check(float{});
  check(Bf16{});
  check(double{});
  check(int32_t{});
  check(int64_t{});
}

template <typename T>
void CheckAllReduceOf(Communicator& group, int64_t count, ReduceOp op) {
  const std::vector<T> in = Values<T>(group.rank(), 1, count);
  const std::vector<T> expected = Reduced<T>(group.size(), 1, 0, count, op);
  std::vector<T> out(count);
  group.AllReduce(in.data(), out.data(), count, kDTypeOf<T>, op);
  ExpectSameBits(out, expected, Label<T>("all_reduce", group, count));
  std::vector<T> both = in;
  group.AllReduce(both.data(), both.data(), count, kDTypeOf<T>, op);
  ExpectSameBits(both, expected, Label<T>("all_reduce in place", group, count));
}

template <typename T>
std::vector<T> AllValues(int num_ranks, int salt, int64_t count) {
  std::vector<T> all;
  for (int rank = 0; rank < num_ranks; ++rank) {
    const std::vector<T> one = Values<T>(rank, salt, count);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

template <typename T>
void CheckAllGatherOf(Communicator& group, int64_t count) {
  const std::vector<T> in = Values<T>(group.rank(), 2, count);
  const std::vector<T> expected = AllValues<T>(group.size(), 2, count);
  std::vector<T> out(expected.size());
  group.AllGather(in.data(), out.data(), count, kDTypeOf<T>);
  ExpectSameBits(out, expected, Label<T>("all_gather", group, count));
  std::vector<T> both(expected.size());
  T* mine = both.data() + group.rank() * count;
  std::copy(in.begin(), in.end(), mine);
  group.AllGather(mine, both.data(), count, kDTypeOf<T>);
  ExpectSameBits(both, expected, Label<T>("all_gather in place", group, count));
}

template <typename T>
void CheckReduceScatterOf(Communicator& group, int64_t count) {
  const int64_t begin = group.rank() * count;
  std::vector<T> in = Values<T>(group.rank(), 3, count * group.size());
  const std::vector<T> expected = Reduced<T>(group.size(), 3, begin, count, ReduceOp::kSum);
  std::vector<T> out(count);
  group.Wait(group.StartReduceScatter(in.data(), out.data(), count, kDTypeOf<T>));
  ExpectSameBits(out, expected, Label<T>("reduce_scatter", group, count));
  group.Wait(group.StartReduceScatter(in.data(), in.data() + begin, count, kDTypeOf<T>));
  const std::vector<T> mine(in.begin() + begin, in.begin() + begin + count);
  ExpectSameBits(mine, expected, Label<T>("reduce_scatter in place", group, count));
}

template <typename T>
void CheckAllToAllOf(Communicator& group, int64_t count) {
  std::vector<T> in = Values<T>(group.rank(), 4, count * group.size());
  std::vector<T> expected;
  for (int from = 0; from < group.size(); ++from) {
    for (int64_t i = 0; i < count; ++i) expected.push_back(Value<T>(from, 4, group.rank() * count + i));
  }
  std::vector<T> out(in.size());
  group.Wait(group.StartAllToAll(in.data(), out.data(), count, kDTypeOf<T>));
  ExpectSameBits(out, expected, Label<T>("all_to_all", group, count));
  group.Wait(group.StartAllToAll(in.data(), in.data(), count, kDTypeOf<T>));
  ExpectSameBits(in, expected, Label<T>("all_to_all in place", group, count));
}

// Rank `from` sends so many pieces to rank `to`, the i-th of so many elements. Rank 1 has nothing for
// anybody.
int NumPieces(int from, int to) {
  return from == 1 ? 0 : (from + 2 * to) % 4;
}
int64_t PieceLength(int from, int to, int i) {
  return i == 1 ? 0 : 1 + (from * 7919 + to * 131 + i * 17) % 5000;
}

template <typename T>
void CheckExchangeOf(Communicator& group) {
  using Piece = Communicator::Piece;
  const int me = group.rank();
  std::vector<std::vector<T>> sent, received, expected;
  std::vector<Piece> sends, receives;
  for (int peer = 0; peer < group.size(); ++peer) {
    for (int i = 0; i < NumPieces(me, peer); ++i) {
      sent.push_back(Values<T>(me, 40 + 10 * peer + i, PieceLength(me, peer, i)));
      sends.push_back({sent.back().data(), static_cast<int64_t>(sent.back().size()), peer});
    }
    for (int i = 0; i < NumPieces(peer, me); ++i) {
      expected.push_back(Values<T>(peer, 40 + 10 * me + i, PieceLength(peer, me, i)));
      received.emplace_back(expected.back().size());
      receives.push_back({received.back().data(), static_cast<int64_t>(received.back().size()), peer});
    }
  }
  group.Wait(group.StartExchange(sends, receives, kDTypeOf<T>));
  for (size_t i = 0; i < received.size(); ++i) {
    ExpectSameBits(received[i], expected[i], Label<T>("exchange", group, static_cast<int64_t>(i)));
  }
}

template <typename T>
void CheckBroadcastOf(Communicator& group, int64_t count, int root) {
  std::vector<T> data = Values<T>(group.rank(), 5, count);
  group.Broadcast(data.data(), count, kDTypeOf<T>, root);
  ExpectSameBits(data, Values<T>(root, 5, count), Label<T>("broadcast", group, count));
}

template <typename T>
void CheckRingOf(Communicator& group, int64_t count) {
  const int next = (group.rank() + 1) % group.size();
  const int previous = (group.rank() + group.size() - 1) % group.size();
  constexpr int kMessages = 3;
  std::vector<std::vector<T>> out, in(kMessages, std::vector<T>(count));
  std::vector<Communicator::Ticket> sends, receives;
  for (int m = 0; m < kMessages; ++m) {
    out.push_back(Values<T>(group.rank(), 10 + m, count));
    sends.push_back(group.StartSend(out[m].data(), count, kDTypeOf<T>, next));
  }
  for (int m = 0; m < kMessages; ++m) {
    receives.push_back(group.StartReceive(in[m].data(), count, kDTypeOf<T>, previous));
  }
  for (int m = kMessages - 1; m >= 0; --m) {
    group.Wait(receives[m]);
    group.Wait(sends[m]);
    ExpectSameBits(in[m], Values<T>(previous, 10 + m, count), Label<T>("ring", group, count));
  }
}

}  // namespace

void CheckAllReduce(Communicator& group) {
  ForEachReducibleDType([&](auto element) {
    for (int64_t count : kCounts) {
      for (ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax})
        CheckAllReduceOf<decltype(element)>(group, count, op);
    }
  });
}

void CheckAllGather(Communicator& group) {
  for (int64_t count : kCounts) CheckAllGatherOf<uint8_t>(group, count);
  ForEachReducibleDType([&](auto element) { CheckAllGatherOf<decltype(element)>(group, 1023); });
}

void CheckReduceScatter(Communicator& group) {
  ForEachReducibleDType([&](auto element) {
    for (int64_t count : kCounts) CheckReduceScatterOf<decltype(element)>(group, count);
  });
}

void CheckAllToAll(Communicator& group) {
  for (int64_t count : kCounts) CheckAllToAllOf<int64_t>(group, count);
  CheckAllToAllOf<uint8_t>(group, 13);
  ForEachReducibleDType([&](auto element) { CheckAllToAllOf<decltype(element)>(group, 1023); });
}

void CheckExchange(Communicator& group) {
  CheckExchangeOf<uint8_t>(group);
  ForEachReducibleDType([&](auto element) { CheckExchangeOf<decltype(element)>(group); });
}

void CheckBroadcast(Communicator& group) {
  for (int root = 0; root < group.size(); ++root) {
    for (int64_t count : kCounts) CheckBroadcastOf<uint8_t>(group, count, root);
    ForEachReducibleDType([&](auto element) { CheckBroadcastOf<decltype(element)>(group, 1023, root); });
  }
}

void CheckSendAndReceive(Communicator& group) {
  if (group.size() == 1) return;
  for (int64_t count : kCounts) CheckRingOf<float>(group, count);
  CheckRingOf<uint8_t>(group, 13);
  CheckRingOf<Bf16>(group, 1023);
}

void CheckManyAtOnce(Communicator& group) {
  const std::unique_ptr<Communicator> other = group.Split(0, -group.rank());
  constexpr int64_t kCount = 100003;
  constexpr int kRounds = 6;
  std::vector<std::vector<float>> sums(kRounds);
  std::vector<std::vector<int32_t>> gathered(kRounds, std::vector<int32_t>(kCount * group.size()));
  std::vector<std::vector<int32_t>> parts(kRounds);
  std::vector<std::pair<Communicator*, Communicator::Ticket>> under_way;
  for (int i = 0; i < kRounds; ++i) {
    sums[i] = Values<float>(group.rank(), 20 + i, kCount);
    parts[i] = Values<int32_t>(group.rank(), 30 + i, kCount);
    under_way.emplace_back(
        &group, group.StartAllReduce(sums[i].data(), sums[i].data(), kCount, DType::kF32, ReduceOp::kSum));
    under_way.emplace_back(other.get(),
                           other->StartAllGather(parts[i].data(), gathered[i].data(), kCount, DType::kI32));
    group.Progress();
  }
  if (group.rank() % 2 == 1) std::reverse(under_way.begin(), under_way.end());
  for (auto [communicator, ticket] : under_way) communicator->Wait(ticket);
  for (int i = 0; i < kRounds; ++i) {
    ExpectSameBits(sums[i], Reduced<float>(group.size(), 20 + i, 0, kCount, ReduceOp::kSum),
                   "one of many sums");
    std::vector<int32_t> expected;
    for (int rank = group.size() - 1; rank >= 0; --rank) {
      const std::vector<int32_t> one = Values<int32_t>(rank, 30 + i, kCount);
      expected.insert(expected.end(), one.begin(), one.end());
    }
    ExpectSameBits(gathered[i], expected, "one of many gathers, ranks reversed");
  }
}

void CheckSplit(Communicator& group) {
  const int rank = group.rank();
  const std::unique_ptr<Communicator> half = group.Split(rank % 2, -rank);
  ASSERT_NE(half, nullptr);
  const int half_size = (group.size() + 1 - rank % 2) / 2;
  EXPECT_EQ(half->size(), half_size);
  EXPECT_EQ(half->rank(), half_size - 1 - rank / 2);
  std::vector<int32_t> members(half_size);
  const int32_t mine = rank;
  half->AllGather(&mine, members.data(), 1, DType::kI32);
  for (int i = 0; i < half_size; ++i) EXPECT_EQ(members[i], 2 * (half_size - 1 - i) + rank % 2);
  const std::unique_ptr<Communicator> some = group.Split(rank == 0 ? -1 : 7, 0);
  EXPECT_EQ(some == nullptr, rank == 0);
  if (some != nullptr) {
    EXPECT_EQ(some->size(), group.size() - 1);
    some->Barrier();
  }
  group.Barrier();
}

}  // namespace trireme
