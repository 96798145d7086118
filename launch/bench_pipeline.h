// Pipeline schedules as they really run: the planner's lists, the executor and its messages between thread
// ranks, with kernels that sleep. Sleeping needs no core, so many stages tell the truth on few cores.
#ifndef TRIREME_LAUNCH_BENCH_PIPELINE_H_
#define TRIREME_LAUNCH_BENCH_PIPELINE_H_

#include <string>
#include <vector>

#include "parallel/schedule.h"

namespace trireme {

struct PipelineBenchmark {
  int num_stages = 8;
  int virtual_stages = 2;  // of the interleaved schedule
  int num_micro_batches = 16;
  // How long a stage's whole forward of a micro-batch sleeps; its backward sleeps twice that.
  double forward_seconds = 8e-3;
  int num_steps = 3;
};

struct PipelineBenchmarkReport {
  struct Row {
    ScheduleKind kind = ScheduleKind::k1F1B;
    double step_seconds = 0;
    double measured = 0;   // idle share of the stages' time; what a stage slept is not idle
    double on_paper = 0;   // the same, of the simulated schedule
    double published = 0;  // PublishedBubble
  };
  PipelineBenchmark benchmark;
  std::vector<Row> rows;  // of kAllSchedules

  std::string ToString() const;
  std::string ToJson() const;
};

PipelineBenchmarkReport BenchmarkPipelines(const PipelineBenchmark& benchmark);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_BENCH_PIPELINE_H_
