// ZeRO's third stage as a pass over a StepPlan: parameters are gathered before the segments that read them.
#ifndef TRIREME_PARALLEL_GATHER_PASS_H_
#define TRIREME_PARALLEL_GATHER_PASS_H_

#include <vector>

#include "parallel/bucket.h"
#include "parallel/optimizer.h"
#include "runtime/step_plan.h"

namespace trireme {

// Adds to `plan` (of a training step or of an evaluation, of chunks with these buckets) the
// gathering of every bucket whose parameters are sharded. It starts before the segment in front of the one
// that reads the bucket, so that it travels under that segment, whatever micro-batch and direction the two
// are of; it is waited for where it is read. A bucket stays until the last of the segments in a row that read
// it has run: its residences say so. `update` is added to the plan's programs, and the channels of its
// buckets to the channels, where a plan (an evaluation's) has none. All must outlive the plan.
void GatherParameters(const std::vector<Bucket>& buckets, const UpdateProgram& update, StepPlan& plan);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_GATHER_PASS_H_
