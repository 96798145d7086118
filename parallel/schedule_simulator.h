// Runs a pipeline schedule on paper: is it complete, can it deadlock, how long does it take.
#ifndef TRIREME_PARALLEL_SCHEDULE_SIMULATOR_H_
#define TRIREME_PARALLEL_SCHEDULE_SIMULATOR_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parallel/schedule.h"

namespace trireme {

// In any one unit of time. Messages take none.
struct WorkCosts {
  double forward = 1;
  double backward = 2;
  double backward_input = 1;
  double backward_weight = 1;
};

struct TimedWork {
  Work work;
  double begin = 0;
  double end = 0;
};

struct PipelineSimulation {
  double makespan = 0;
  double bubble_fraction = 0;      // idle share of num_stages * makespan
  std::vector<int> max_in_flight;  // a stage: forwards whose backward is not done, at most at once
  std::vector<std::vector<TimedWork>> timeline;  // a stage, in order of time
};

// stages[s] is what stage s computes. Refuses a schedule
// - that lacks or repeats work, runs a backward before its forward or a backward_weight before its
// backward_input,
// - that runs a chunk before the one of the same stage that feeds it,
// - whose stages exchange messages in different orders,
// - that deadlocks where a send completes only once its receive has started.
// `turns`: as in PipelinePlace.
absl::StatusOr<PipelineSimulation> Simulate(const std::vector<std::vector<Work>>& stages,
                                            const WorkCosts& costs = {}, bool turns = false);

// The same with the messages where the caller wants them: stages[s] is the list of stage s, and `place` that
// of any stage.
absl::StatusOr<PipelineSimulation> SimulateEntries(const std::vector<std::vector<PipelineEntry>>& stages,
                                                   const PipelinePlace& place, const WorkCosts& costs = {});

// One line a stage, one column a unit of time, "." where a stage is idle. Costs must be whole numbers.
std::string Picture(const PipelineSimulation& simulation);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_SCHEDULE_SIMULATOR_H_
