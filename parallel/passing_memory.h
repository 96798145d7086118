// The memory that whole buckets take turns in where ranks keep only shards of them (ZeRO 2 and 3).
#ifndef TRIREME_PARALLEL_PASSING_MEMORY_H_
#define TRIREME_PARALLEL_PASSING_MEMORY_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "parallel/optimizer.h"
#include "runtime/step_plan.h"

namespace trireme {

struct PassingMemory {
  // By value of the update program: where it lies while it is there; kNotPassing for values that have memory
  // of their own.
  static constexpr int64_t kNotPassing = -1;
  std::vector<int64_t> offsets;  // bytes
  int64_t bytes = 0;
};

// Every whole bucket that is sharded has one place, whatever step of `plans` it comes in: two overlap only if
// none of the plans has both at one time.
PassingMemory PlanPassingMemory(const UpdateProgram& update, absl::Span<const StepPlan* const> plans);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_PASSING_MEMORY_H_
