// Buckets: the flat ranges of storage in which parameters, their gradients and the optimiser's state are
// kept, reduced and sharded.
#ifndef TRIREME_PARALLEL_BUCKET_H_
#define TRIREME_PARALLEL_BUCKET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/program.h"

namespace trireme {

// Parameters that are reduced together: the matrices of a block, or all vectors of the chunk. The groups of
// `members` lie one after the other; behind them comes padding to a multiple of the number of ZeRO shards,
// always zero.
struct Bucket {
  struct Member {
    int group;       // index into Program::parameters
    int64_t offset;  // elements from the bucket's start
  };

  std::string name;
  DType compute = DType::kF32;  // of the copies that the chunk reads
  bool decays = true;           // weight decay applies (matrices)
  // Whether every tp rank holds the same elements (Invariant on tp): then only coordinate 0 counts and saves
  // them.
  bool same_on_tp = false;
  bool tied = false;  // the chunk at the pipeline's other end holds the same parameter
  std::vector<Member> members;
  int64_t size = 0;       // elements, padding included
  int last_segment = -1;  // the backward segment that adds to its gradients last
  int64_t shard_size(int num_shards) const { return size / num_shards; }
};

// The buckets of a chunk, in the order in which backward completes their gradients. `num_shards`: ranks of dp
// x cp. `tied_parameter`: the name of the parameter that another stage holds as well; "" for none.
std::vector<Bucket> MakeBuckets(const Program& chunk, int num_shards, const std::string& tied_parameter);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_BUCKET_H_
