#include "launch/run_log.h"

#include <cerrno>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/clock.h"

namespace trireme {
namespace {

std::string Duration(double seconds) {
  const int64_t s = std::llround(seconds);
  if (s >= 3600) return absl::StrFormat("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
  return absl::StrFormat("%d:%02d", s / 60, s % 60);
}

absl::Status WriteLine(std::FILE* file, const std::string& path, const std::string& line) {
  if (std::fputs(line.c_str(), file) >= 0 && std::fflush(file) == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(path, ": could not append a row: ", std::strerror(errno)));
}

}  // namespace

std::string JsonNumber(double number) {
  return std::isfinite(number) ? absl::StrFormat("%.10g", number) : "null";
}

std::string HexFloat(double number) {
  char text[64];
  std::snprintf(text, sizeof(text), "%a", number);
  return text;
}

absl::StatusOr<RunLog> RunLog::Open(const std::string& run_directory, int64_t last_step) {
  const std::string path = run_directory + "/metrics.jsonl";
  std::FILE* file = std::fopen(path.c_str(), "a");
  if (file == nullptr)
    return absl::UnavailableError(absl::StrCat(path, ": cannot be written: ", std::strerror(errno)));
  return RunLog(run_directory, last_step, file);
}

RunLog::RunLog(RunLog&& other) noexcept
    : run_directory_(std::move(other.run_directory_)),
      last_step_(other.last_step_),
      metrics_(other.metrics_) {
  other.metrics_ = nullptr;
}

RunLog::~RunLog() {
  if (metrics_ != nullptr) std::fclose(metrics_);
}

absl::Status RunLog::Add(const StepRecord& r) {
  const absl::Status status = WriteLine(
      metrics_, run_directory_ + "/metrics.jsonl",
      absl::StrCat("{\"step\": ", r.step, ", \"tokens\": ", r.tokens, ", \"loss\": ", JsonNumber(r.loss),
                   ", \"loss_hex\": \"", HexFloat(r.loss), "\"",
                   r.z_loss ? absl::StrCat(", \"z_loss\": ", JsonNumber(*r.z_loss)) : "",
                   r.dropped ? absl::StrCat(", \"dropped_choices\": ", r.dropped->choices,
                                            ", \"dropped_share\": ", JsonNumber(r.dropped->share))
                             : "",
                   ", \"grad_norm\": ", JsonNumber(r.gradient_norm),
                   ", \"lr\": ", JsonNumber(r.learning_rate), ", \"step_seconds\": ", JsonNumber(r.seconds),
                   ", \"tokens_per_second\": ", JsonNumber(r.tokens_per_second),
                   ", \"mfu\": ", JsonNumber(r.mfu), ", \"peak_rss_bytes\": ", r.peak_rss_bytes, "}\n"));
  seconds_per_step_ = seconds_per_step_ == 0 ? r.seconds : 0.9 * seconds_per_step_ + 0.1 * r.seconds;
  if (NowSeconds() - last_print_ >= 1 || r.step == last_step_) {
    last_print_ = NowSeconds();
    const std::string dropped = r.dropped ? absl::StrFormat("  dropped %.2f%%", 100 * r.dropped->share) : "";
    std::printf("step %*lld/%lld  loss %.4f%s  norm %.3f  lr %.3g  %.0f tokens/s  mfu %.1f%%  left %s\n",
                static_cast<int>(std::to_string(last_step_).size()), static_cast<long long>(r.step),
                static_cast<long long>(last_step_), r.loss, dropped.c_str(), r.gradient_norm, r.learning_rate,
                r.tokens_per_second, 100 * r.mfu,
                Duration(static_cast<double>(last_step_ - r.step) * seconds_per_step_).c_str());
    std::fflush(stdout);
  }
  return status;
}

absl::Status RunLog::Add(const EvaluationRecord& r) {
  const std::string path = run_directory_ + "/evaluations.jsonl";
  std::FILE* file = std::fopen(path.c_str(), "a");
  if (file == nullptr)
    return absl::UnavailableError(absl::StrCat(path, ": cannot be written: ", std::strerror(errno)));
  const absl::Status status = WriteLine(
      file, path,
      absl::StrCat("{\"step\": ", r.step, ", \"validation_loss\": ", JsonNumber(r.loss), ", \"loss_hex\": \"",
                   HexFloat(r.loss), "\", \"bits_per_byte\": ", JsonNumber(r.bits_per_byte),
                   ", \"tokens\": ", r.tokens, "}\n"));
  std::fclose(file);
  std::printf("step %lld  validation loss %.4f  %.3f bits per byte over %lld tokens\n",
              static_cast<long long>(r.step), r.loss, r.bits_per_byte, static_cast<long long>(r.tokens));
  std::fflush(stdout);
  return status;
}

}  // namespace trireme
