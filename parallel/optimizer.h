// The update as a Program: gradient norm, clipping and AdamW over each bucket's shard. The StepPlan runs its
// segments between the gradients' reduction and the parameters' gathering.
#ifndef TRIREME_PARALLEL_OPTIMIZER_H_
#define TRIREME_PARALLEL_OPTIMIZER_H_

#include <vector>

#include "parallel/bucket.h"
#include "runtime/ops/optimizer.h"
#include "runtime/program.h"

namespace trireme {

struct UpdateOptions {
  AdamWOptions adamw;
  double clip_norm = 0;  // 0: off
  int zero_stage = 1;    // 0: every replica updates everything; 1: each its shard
  AxisSizes mesh;
  AxisSizes coordinate = {{0, 0, 0, 0}};  // of this rank
  Precision precision;

  // The first element of this rank's shard of a bucket.
  int64_t ShardBegin(const Bucket& bucket) const {
    return RankAlong(bucket.reduced_over, coordinate, mesh) * bucket.shard_size();
  }
};

// The program and where things are in it. All values are State: bound by ParameterStore.
struct UpdateProgram {
  struct BucketValues {
    ValueId gradients;        // [size] wide: the whole bucket
    ValueId gradient_shard;   // its part that this rank reduces, a window
    ValueId parameters;       // [size] compute: what the chunk reads
    ValueId parameter_shard;  // a window
    ValueId master;  // what AdamW updates: parameters or their shard where compute is wide, else storage of
                     // its own
    ValueId first_moment;
    ValueId second_moment;
    int norm_segment;    // squares of the gradient shard; -1 where another rank counts it
    int update_segment;  // AdamW, and the compute copy
  };
  Program program;
  std::vector<BucketValues> buckets;
  ValueId squared_norms;  // f64, one a bucket
  ValueId local_norm;     // f64 [1]: this rank's sum of squares
  ValueId global_norm;    // f64 [1]: over the mesh
  ValueId step_inputs;    // f64 [kNumStepInputs]
  ValueId step_factors;   // f64 [kNumStepFactors]
  ValueId updates;        // f64 [1]: applied updates so far
  int sum_segment;        // squared_norms -> local_norm
  int factors_segment;    // global_norm -> step_factors
};

UpdateProgram RecordUpdate(const std::vector<Bucket>& buckets, const UpdateOptions& options);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_OPTIMIZER_H_
