#include "launch/learning_rate.h"

#include <algorithm>
#include <cmath>

namespace trireme {
namespace {

// How far `step` is on its way from `begin` to `end`, in [0, 1].
double Progress(int64_t step, int64_t begin, int64_t end) {
  if (step <= begin || end <= begin) return step <= begin ? 0 : 1;
  return std::min(1.0, static_cast<double>(step - begin) / static_cast<double>(end - begin));
}

}  // namespace

double LearningRate(const Config& config, int64_t step) {
  constexpr double kPi = 3.14159265358979323846;
  const LearningRateScheduleConfig& schedule = config.learning_rate_schedule();
  const double peak = config.optimizer().learning_rate();
  const int64_t warmup = schedule.warmup_steps();
  if (step < warmup) return peak * static_cast<double>(step) / static_cast<double>(warmup);
  const double floor = schedule.min_learning_rate_ratio();
  if (schedule.kind() == "constant") return peak;
  if (schedule.kind() == "wsd") {
    const int64_t begin = std::max(warmup, config.train().steps() - schedule.decay_steps());
    return peak * (1 - (1 - floor) * Progress(step, begin, config.train().steps()));
  }
  // A decay that ends where it starts never starts.
  const int64_t end = schedule.decay_steps();
  const double progress = end > warmup ? Progress(step, warmup, end) : 0;
  if (schedule.kind() == "linear") return peak * (1 - (1 - floor) * progress);
  return peak * (floor + (1 - floor) * 0.5 * (1 + std::cos(kPi * progress)));
}

}  // namespace trireme
