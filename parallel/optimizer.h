// The update as a Program: gradient norm, clipping and AdamW over each bucket's shard. The StepPlan runs its
// segments between the gradients' reduction and the parameters' gathering.
#ifndef TRIREME_PARALLEL_OPTIMIZER_H_
#define TRIREME_PARALLEL_OPTIMIZER_H_

#include <optional>
#include <vector>

#include "parallel/bucket.h"
#include "runtime/ops/gradient_grid.h"
#include "runtime/ops/optimizer.h"
#include "runtime/program.h"

namespace trireme {

struct UpdateOptions {
  AdamWOptions adamw;
  double clip_norm = 0;  // 0: off
  // 0: every replica updates everything; 1: each its shard; 2: and keeps only that of the gradients; 3: and
  // of the parameters.
  int zero_stage = 1;
  AxisSizes mesh;
  AxisSizes coordinate = {{0, 0, 0, 0}};  // of this rank
  Precision precision;
  // If set, bf16 parameters have no master weights: AdamW rounds them stochastically, by this seed.
  std::optional<uint64_t> rounding_seed;
  // If set, gradients lie on this grid: i64, and every sum of them is exact.
  std::optional<GradientGrid> grid;

  DType gradient_dtype() const { return grid.has_value() ? DType::kI64 : precision.wide(); }

  bool RoundsParameters(const Bucket& bucket) const {
    return rounding_seed.has_value() && bucket.compute == DType::kBF16;
  }
  // Whether a bucket's parameters are whole only while a segment reads them; its gradients, only while a
  // micro-batch's backward works on them.
  bool ShardsParameters(const Bucket& bucket) const {
    return zero_stage >= 3 && bucket.num_shards > 1 && !bucket.whole_chunk;
  }
  bool ShardsGradients(const Bucket& bucket) const {
    return zero_stage >= 2 && bucket.num_shards > 1 && !bucket.whole_chunk && bucket.is_written_in_one_run;
  }

  // The first element of this rank's shard of a bucket.
  int64_t ShardBegin(const Bucket& bucket) const {
    return RankAlong(bucket.reduced_over, coordinate, mesh) * bucket.shard_size();
  }
};

// The program and where things are in it. All values are State: bound by ParameterStore.
struct UpdateProgram {
  struct BucketValues {
    ValueId gradients;         // [size] UpdateOptions::gradient_dtype(): the whole bucket
    ValueId scattered;         // its part that this rank reduces, a window
    ValueId gradient_shard;    // the same; or, where gradients are sharded, the sum over micro-batches
    ValueId owned_gradients;   // what AdamW reads: gradients, or their shard
    ValueId parameters;        // [size] compute: what the chunk reads
    ValueId parameter_shard;   // a window; or, where parameters are sharded, storage of its own
    ValueId owned_parameters;  // what this rank updates of them: all, or the shard
    // What AdamW updates: owned_parameters where they are wide or rounded stochastically, else storage of its
    // own.
    ValueId master;
    ValueId rounding_places = kNoValue;  // where parameters are rounded stochastically
    ValueId first_moment;
    ValueId second_moment;
    // Whether the whole bucket's memory is others' too, outside its residences in a StepPlan.
    bool shards_gradients = false;
    bool shards_parameters = false;
    // Where gradients are sharded: zeros for the padding of the whole bucket, -1 where it has none; and
    // scattered is added to gradient_shard. Neither needs workspace: they run between the chunk's segments.
    int clear_segment = -1;
    int add_segment = -1;
    int norm_segment = -1;    // squares of the gradient shard; -1 where another rank counts it
    int update_segment = -1;  // AdamW, and the compute copy
  };
  Program program;
  std::vector<BucketValues> buckets;
  ValueId squared_norms;             // f64, one a bucket; on a grid i64, kGridLimbs
  ValueId local_norm;                // f64 [1]: this rank's sum of squares; on a grid i64 [kGridSums]
  ValueId global_norm;               // the same over the mesh
  ValueId step_inputs;               // f64 [kNumStepInputs]
  ValueId step_factors;              // f64 [kNumStepFactors]
  ValueId updates;                   // f64 [1]: applied updates so far
  ValueId grid_overflow = kNoValue;  // on a grid, i64 [1]: whether this rank met what it does not hold
  int sum_segment;                   // squared_norms -> local_norm
  int factors_segment;               // global_norm -> step_factors
};

// `buckets`: of these chunks.
UpdateProgram RecordUpdate(const std::vector<const Program*>& chunks, const std::vector<Bucket>& buckets,
                           const UpdateOptions& options);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_OPTIMIZER_H_
