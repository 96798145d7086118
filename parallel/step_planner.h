// Unrolls a schedule over segments and micro-batches into one rank's StepPlan, communication included.
#ifndef TRIREME_PARALLEL_STEP_PLANNER_H_
#define TRIREME_PARALLEL_STEP_PLANNER_H_

#include <vector>

#include "parallel/bucket.h"
#include "parallel/optimizer.h"
#include "parallel/schedule.h"
#include "runtime/step_plan.h"

namespace trireme {

// StepPlan::channels are named in this order.
enum PlanChannel {
  // Those of a chunk that runs from the first stage to the last. The previous stage is rank 0 of its
  // channels,
  // the next is rank 1 of its.
  kFromPrevious,  // activations
  kToNext,
  kFromNext,  // their gradients
  kToPrevious,
  kTurned,               // the first of the same four for a turned chunk (PipelinePlace::IsTurned)
  kHomes = 2 * kTurned,  // the two stages of a tied parameter
  kWorld,
  kReductions,  // the first of ReductionGroups(buckets), which follow each other
};

// The chunks of a rank, recorded for training or for evaluation, and its place in the pipeline.
struct StageChunks {
  std::vector<const Program*> programs;
  PipelinePlace place;
};

// Programs 0 to v - 1 (the chunks) and v (the update) of a training step. Each micro-batch that a chunk has
// in flight has a slot. Each bucket's reduction starts when backward has completed its gradients in the last
// micro-batch, or, where they are sharded, in every one; under ZeRO, each bucket's gathering starts with its
// update. All programs must outlive the plan. A schedule that splits backward asks for chunks whose backward
// is split (SplitBackward).
StepPlan PlanTrainingStep(const StageChunks& chunks, const UpdateProgram& update,
                          const std::vector<Bucket>& buckets, const std::vector<Work>& schedule,
                          int num_micro_batches, int zero_stage);

// Programs 0 to v - 1, recorded for evaluation: the forwards of `schedule`, with the loss of each
// micro-batch.
StepPlan PlanEvaluation(const StageChunks& chunks, const std::vector<Work>& schedule, int num_micro_batches);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_STEP_PLANNER_H_
