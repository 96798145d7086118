// Buckets: the flat ranges of storage in which parameters, their gradients and the optimiser's state are
// kept, reduced and sharded.
#ifndef TRIREME_PARALLEL_BUCKET_H_
#define TRIREME_PARALLEL_BUCKET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/axis_set.h"
#include "runtime/program.h"

namespace trireme {

// Parameters that are reduced together: the matrices of a block, or all vectors of the chunk. The groups of
// `members` lie one after the other; behind them comes padding to a multiple of the number of ZeRO shards,
// always zero.
struct Bucket {
  struct Member {
    int group;         // index into Program::parameters of the bucket's chunk
    int64_t offset;    // elements from the bucket's start
    std::string name;  // of the group's first parameter: finds it in other programs
  };

  std::string name;
  int chunk = 0;  // whose parameters they are, of this rank's chunks
  // The vectors of the whole chunk, not a block's matrices: few and small, they are reduced once a step and
  // never taken apart.
  bool whole_chunk = false;
  DType compute = DType::kF32;  // of the copies that the chunk reads
  bool decays = true;           // weight decay applies (matrices)
  // The axes on which the parameters are Replicate, and so their gradients Partial: those that gradients are
  // added over, and whose ranks share the bucket under ZeRO.
  AxisSet reduced_over;
  int num_shards = 1;  // ranks of such a group
  // The axes on which they are Invariant: every rank holds the same elements and gets the same gradients;
  // only coordinate 0 counts and saves them.
  AxisSet same_over;
  bool tied = false;  // the chunk at the pipeline's other end holds the same parameter
  std::vector<Member> members;
  int64_t size = 0;        // elements, padding included
  int first_segment = -1;  // the backward segment of its chunk that writes its gradients first
  int last_segment = -1;   // and the one that adds to them last
  // Whether one run of one region of the chunk writes all of a micro-batch's gradients, so that no other
  // micro-batch comes between. Not so where another chunk of the rank holds the parameters too, or where a
  // split backward parts the writers.
  bool is_written_in_one_run = true;
  int64_t shard_size() const { return size / num_shards; }

  // Whether the rank at `coordinate`, and not another that holds the same elements, counts them in a norm and
  // saves them.
  bool CountsAt(const AxisSizes& coordinate) const;
};

// What several chunks of one rank hold (the embedding that is the head too, where one rank has both ends of
// the model) is kept once, by the first of them. Of its gradient, a later chunk's backward writes the first
// part of each micro-batch, and the first chunk's adds to it: this makes it so. Call it before anything else
// sees them.
void ShareParameters(const std::vector<Program*>& chunks);

// The buckets of a rank's chunks, in the order in which backward completes their gradients: the last chunk
// first. `tied_parameter`: the name of the parameter that another stage holds as well; "" for none.
std::vector<Bucket> MakeBuckets(const std::vector<const Program*>& chunks, const AxisSizes& mesh,
                                const std::string& tied_parameter);

// The sets of axes that buckets are reduced over, each once, in the order of the buckets.
std::vector<AxisSet> ReductionGroups(const std::vector<Bucket>& buckets);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_BUCKET_H_
