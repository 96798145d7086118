// A collective among threads: the arguments of every rank, gathered, and what is then done with them.
#ifndef TRIREME_PARALLEL_THREAD_COLLECTIVE_H_
#define TRIREME_PARALLEL_THREAD_COLLECTIVE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "parallel/thread_hub.h"
#include "runtime/communicator.h"
#include "runtime/dtype.h"

namespace trireme {

struct ThreadGroup;

enum class CollectiveKind {
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kAllToAll,
  kExchange,
  kBroadcast,
  kBarrier,
  kSplit
};

// What all ranks must agree on.
struct CollectiveSignature {
  CollectiveKind kind = CollectiveKind::kBarrier;
  int64_t count = 0;
  DType dtype = DType::kU8;
  ReduceOp op = ReduceOp::kSum;
  int root = 0;

  bool operator==(const CollectiveSignature&) const = default;
  // "all_reduce of 12 bf16 (max)".
  std::string ToString() const;
};

struct ThreadCollective : ThreadHub::Operation {
  struct Arguments {
    bool given = false;
    const void* in = nullptr;
    void* out = nullptr;
    std::vector<Communicator::Piece> sends, receives;  // of an exchange
    int color = -1;                                    // of a split
    int key = 0;
    std::shared_ptr<ThreadGroup> group;  // what a split makes for this rank
    int rank_in_group = 0;
  };

  std::string Describe() const override;

  // Does the work of all ranks, once all have given their arguments.
  void Execute();

  CollectiveSignature signature;
  std::vector<int> world_ranks;    // of the group, in its order
  std::vector<Arguments> of_rank;  // one a rank of the group
  int num_given = 0;

 private:
  void AllReduce();
  void AllGather();
  void ReduceScatter();
  void AllToAll();
  void Exchange();
  void Broadcast();
  void Split();
};

}  // namespace trireme

#endif  // TRIREME_PARALLEL_THREAD_COLLECTIVE_H_
