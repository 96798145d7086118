// Unrolls a schedule over segments and micro-batches into one rank's StepPlan, communication included.
#ifndef TRIREME_PARALLEL_STEP_PLANNER_H_
#define TRIREME_PARALLEL_STEP_PLANNER_H_

#include <vector>

#include "parallel/bucket.h"
#include "parallel/optimizer.h"
#include "parallel/schedule.h"
#include "runtime/step_plan.h"

namespace trireme {

// What the planner must know of the mesh; channels are named in this order in StepPlan::channels.
enum PlanChannel {
  kFromPrevious,  // activations
  kToNext,
  kFromNext,  // their gradients
  kToPrevious,
  kHomes,  // the two stages of a tied parameter
  kWorld,
  kReductions,  // the first of ReductionGroups(buckets), which follow each other
};

struct StageNeighbours {
  // Ranks in the channels above; -1 without a neighbour.
  int from_previous = -1;
  int to_next = -1;
  int from_next = -1;
  int to_previous = -1;
  bool has_home_pair = false;  // this stage holds a parameter that another holds as well
};

// Programs 0 (the chunk) and 1 (the update) of a training step. Each micro-batch in flight has a slot. Each
// bucket's reduction starts when backward has completed its gradients in the last micro-batch; under ZeRO,
// each bucket's gathering starts with its update. Both programs must outlive the plan.
StepPlan PlanTrainingStep(const Program& chunk, const UpdateProgram& update,
                          const std::vector<Bucket>& buckets, const std::vector<Work>& schedule,
                          int num_micro_batches, int zero_stage, const StageNeighbours& neighbours);

// Program 0 (the chunk recorded for evaluation): forward of every micro-batch, with its loss.
StepPlan PlanEvaluation(const Program& chunk, int num_micro_batches, const StageNeighbours& neighbours);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_STEP_PLANNER_H_
