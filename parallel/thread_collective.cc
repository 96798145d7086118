#include "parallel/thread_collective.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "parallel/bytes.h"
#include "parallel/reduction.h"
#include "parallel/thread_group.h"

namespace trireme {
namespace {

const char* Name(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::kAllReduce:
      return "all_reduce";
    case CollectiveKind::kAllGather:
      return "all_gather";
    case CollectiveKind::kReduceScatter:
      return "reduce_scatter";
    case CollectiveKind::kAllToAll:
      return "all_to_all";
    case CollectiveKind::kExchange:
      return "exchange";
    case CollectiveKind::kBroadcast:
      return "broadcast";
    case CollectiveKind::kBarrier:
      return "barrier";
    case CollectiveKind::kSplit:
      return "split";
  }
  return "?";
}

}  // namespace

std::string CollectiveSignature::ToString() const {
  if (kind == CollectiveKind::kBarrier || kind == CollectiveKind::kSplit) return Name(kind);
  std::string text = absl::StrCat(Name(kind), " of ", count, " ", trireme::Name(dtype));
  if (kind == CollectiveKind::kAllReduce) absl::StrAppend(&text, " (", trireme::Name(op), ")");
  if (kind == CollectiveKind::kBroadcast) absl::StrAppend(&text, " from ", root);
  return text;
}

std::string ThreadCollective::Describe() const {
  std::vector<int> missing;
  for (int i = 0; i < static_cast<int>(of_rank.size()); ++i) {
    if (!of_rank[i].given) missing.push_back(world_ranks[i]);
  }
  return absl::StrCat(signature.ToString(), " among ranks {", absl::StrJoin(world_ranks, ", "),
                      "}, not yet started by {", absl::StrJoin(missing, ", "), "}");
}

void ThreadCollective::Execute() {
  switch (signature.kind) {
    case CollectiveKind::kAllReduce:
      return AllReduce();
    case CollectiveKind::kAllGather:
      return AllGather();
    case CollectiveKind::kReduceScatter:
      return ReduceScatter();
    case CollectiveKind::kAllToAll:
      return AllToAll();
    case CollectiveKind::kExchange:
      return Exchange();
    case CollectiveKind::kBroadcast:
      return Broadcast();
    case CollectiveKind::kSplit:
      return Split();
    case CollectiveKind::kBarrier:
      return;
  }
}

// Block by block: where a rank's `in` is its `out`, each block is read from all before it is written to any.
void ThreadCollective::AllReduce() {
  constexpr int64_t kBlockBytes = 32768;
  alignas(64) std::array<char, kBlockBytes> block;
  const int64_t element = SizeOf(signature.dtype);
  const int64_t bytes = signature.count * element;
  std::vector<const void*> sources(of_rank.size());
  for (int64_t begin = 0; begin < bytes; begin += kBlockBytes) {
    const int64_t length = std::min(kBlockBytes, bytes - begin);
    for (size_t r = 0; r < of_rank.size(); ++r) sources[r] = At(of_rank[r].in, begin);
    ReduceInOrder(sources, block.data(), length / element, signature.dtype, signature.op);
    for (const Arguments& rank : of_rank) std::memcpy(At(rank.out, begin), block.data(), length);
  }
}

void ThreadCollective::AllGather() {
  const int64_t bytes = signature.count * SizeOf(signature.dtype);
  for (const Arguments& to : of_rank) {
    for (size_t from = 0; from < of_rank.size(); ++from)
      MoveBytes(of_rank[from].in, At(to.out, from * bytes), bytes);
  }
}

void ThreadCollective::ReduceScatter() {
  const int64_t bytes = signature.count * SizeOf(signature.dtype);
  std::vector<const void*> sources(of_rank.size());
  for (size_t block = 0; block < of_rank.size(); ++block) {
    for (size_t r = 0; r < of_rank.size(); ++r) sources[r] = At(of_rank[r].in, block * bytes);
    ReduceInOrder(sources, of_rank[block].out, signature.count, signature.dtype, ReduceOp::kSum);
  }
}

void ThreadCollective::AllToAll() {
  const int64_t bytes = signature.count * SizeOf(signature.dtype);
  std::vector<std::vector<char>> kept(of_rank.size());
  for (size_t r = 0; r < of_rank.size(); ++r) {
    Arguments& rank = of_rank[r];
    if (rank.in != rank.out || bytes == 0) continue;
    const char* in = At(rank.in, 0);
    kept[r].assign(in, in + bytes * of_rank.size());
    rank.in = kept[r].data();
  }
  for (size_t to = 0; to < of_rank.size(); ++to) {
    for (size_t from = 0; from < of_rank.size(); ++from) {
      MoveBytes(At(of_rank[from].in, to * bytes), At(of_rank[to].out, from * bytes), bytes);
    }
  }
}

void ThreadCollective::Exchange() {
  const int64_t element = SizeOf(signature.dtype);
  for (int to = 0; to < static_cast<int>(of_rank.size()); ++to) {
    // By sender: how many of its pieces for this rank have been taken.
    std::vector<size_t> next(of_rank.size(), 0);
    for (const Communicator::Piece& receive : of_rank[to].receives) {
      const std::vector<Communicator::Piece>& sends = of_rank[receive.peer].sends;
      size_t& at = next[receive.peer];
      while (at < sends.size() && sends[at].peer != to) ++at;
      CHECK(at < sends.size() && sends[at].count == receive.count)
          << "rank " << world_ranks[to] << " receives " << receive.count << " "
          << trireme::Name(signature.dtype) << " where rank " << world_ranks[receive.peer] << " sends "
          << (at < sends.size() ? absl::StrCat(sends[at].count) : "nothing");
      MoveBytes(sends[at++].data, receive.data, receive.count * element);
    }
    for (size_t from = 0; from < of_rank.size(); ++from) {
      const std::vector<Communicator::Piece>& sends = of_rank[from].sends;
      CHECK(std::none_of(sends.begin() + static_cast<int64_t>(next[from]), sends.end(),
                         [to](const Communicator::Piece& piece) { return piece.peer == to; }))
          << "rank " << world_ranks[from] << " sends more pieces than rank " << world_ranks[to]
          << " receives";
    }
  }
}

void ThreadCollective::Broadcast() {
  const int64_t bytes = signature.count * SizeOf(signature.dtype);
  for (const Arguments& to : of_rank) MoveBytes(of_rank[signature.root].in, to.out, bytes);
}

void ThreadCollective::Split() {
  std::vector<std::tuple<int, int, int>> order;  // color, key, rank
  for (int r = 0; r < static_cast<int>(of_rank.size()); ++r) {
    if (of_rank[r].color >= 0) order.emplace_back(of_rank[r].color, of_rank[r].key, r);
  }
  std::sort(order.begin(), order.end());
  std::map<int, std::shared_ptr<ThreadGroup>> groups;
  for (const auto& [color, key, r] : order) {
    std::shared_ptr<ThreadGroup>& group = groups[color];
    if (group == nullptr) group = std::make_shared<ThreadGroup>();
    of_rank[r].group = group;
    of_rank[r].rank_in_group = static_cast<int>(group->world_ranks.size());
    group->world_ranks.push_back(world_ranks[r]);
  }
}

}  // namespace trireme
