// Times training steps of one process on made-up tokens, beside the best matrix product in the same run.
#ifndef TRIREME_LAUNCH_BENCH_STEP_H_
#define TRIREME_LAUNCH_BENCH_STEP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/config.pb.h"
#include "runtime/device.h"

namespace trireme {

struct StepBenchmark {
  int num_threads = 1;
  int num_warmup_steps = 2;
  int num_steps = 5;  // timed
};

struct StepBenchmarkReport {
  // One op kind of a step, or "other": what the step takes beside its ops.
  struct Row {
    std::string op;
    int64_t calls = 0;
    double seconds = 0;  // a step
    double share = 0;    // of the step
    double gflops = 0;   // a second, of products executed (recomputed ones too); 0 for what is no product
  };

  std::string device;
  std::string dtype;
  int num_threads = 1;
  int64_t tokens = 0;           // a step
  std::vector<double> seconds;  // of each timed step
  double step_seconds = 0;      // their median
  double tokens_per_second = 0;
  double flops_per_token = 0;  // RankPlan's
  double peak_gflops = 0;      // the better of the measurements before and after
  double share_of_peak = 0;
  double loss = 0;           // of the last step
  std::vector<Row> profile;  // the longest first; shares add up to 1

  std::string ToJson() const;
  // A table for people.
  std::string ToString() const;
};

// `config`: validated, resolved for one rank, of dtype fp32 or bf16. Trains `config` as it is, its batch and
// accumulation included, on `device`. The profile is of the timed steps on the host; of further ones, in
// which every op is waited for, on a GPU. There a file in train.gemm_choices serves as in training; without
// one, products use their library's first proposals. Fails where that file cannot be understood or written.
absl::StatusOr<StepBenchmarkReport> BenchmarkStep(const Config& config, const StepBenchmark& options,
                                                  Device& device);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_BENCH_STEP_H_
