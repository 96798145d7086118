// What a run says of itself: metrics.jsonl and evaluations.jsonl for programs, a progress line for people.
// Rank 0 only.
#ifndef TRIREME_LAUNCH_RUN_LOG_H_
#define TRIREME_LAUNCH_RUN_LOG_H_

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace trireme {

struct StepRecord {
  int64_t step = 0;              // from 1
  int64_t tokens = 0;            // seen so far, this step included
  double loss = 0;               // mean over the step's tokens, before the update
  std::optional<double> z_loss;  // the same, where train.z_loss_coef is above 0; not part of `loss`
  // Where model.expert_capacity_factor is above 0: choices of experts that were dropped, and their share of
  // all.
  struct Dropped {
    int64_t choices = 0;
    double share = 0;
  };
  std::optional<Dropped> dropped;
  double gradient_norm = 0;
  double learning_rate = 0;
  double seconds = 0;
  double tokens_per_second = 0;
  int64_t peak_rss_bytes = 0;  // most memory that this process has had so far
  double mfu = 0;              // share of the measured matrix-product peak, in [0, 1]
};

struct EvaluationRecord {
  int64_t step = 0;
  double loss = 0;  // nats per token
  double bits_per_byte = 0;
  int64_t tokens = 0;
};

class RunLog {
 public:
  // Opens RUN/metrics.jsonl for appending. `last_step`: of the run, for the time left.
  static absl::StatusOr<RunLog> Open(const std::string& run_directory, int64_t last_step);
  RunLog(RunLog&& other) noexcept;
  RunLog& operator=(RunLog&&) = delete;
  ~RunLog();

  // Appends a row, flushed, and prints progress at most once a second (and for the last step).
  absl::Status Add(const StepRecord& record);
  absl::Status Add(const EvaluationRecord& record);

 private:
  RunLog(std::string run_directory, int64_t last_step, std::FILE* metrics)
      : run_directory_(std::move(run_directory)), last_step_(last_step), metrics_(metrics) {}

  std::string run_directory_;
  int64_t last_step_;
  std::FILE* metrics_;
  double last_print_ = -1e9;
  double seconds_per_step_ = 0;  // smoothed
};

// A number as JSON has it: null where it is not finite.
std::string JsonNumber(double number);
// As C99's %a.
std::string HexFloat(double number);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_RUN_LOG_H_
