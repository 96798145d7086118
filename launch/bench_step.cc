#include "launch/bench_step.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>

#include "absl/strings/str_format.h"
#include "launch/gemm_choices.h"
#include "launch/trainer.h"
#include "parallel/self_communicator.h"
#include "runtime/clock.h"
#include "runtime/cpu/gemm_peak.h"
#include "runtime/cuda_backend.h"
#include "runtime/op_table.h"
#include "runtime/random.h"

namespace trireme {
namespace {

// Token t of sample s is a pure function of both: every step is another, and every run the same.
class RandomTokens {
 public:
  RandomTokens(const BatchGeometry& batch, int64_t vocabulary) : batch_(batch), vocabulary_(vocabulary) {}

  Samples Read(int64_t step, int micro_batch) {
    inputs_.clear();
    labels_.clear();
    sample_ids_.clear();
    for (int64_t i = 0; i < batch_.micro_batch; ++i) {
      const int64_t sample = step * batch_.global_batch + batch_.FirstSample(micro_batch) + i;
      sample_ids_.push_back(sample);
      for (int64_t t = 0; t < batch_.sequence_length; ++t) {
        inputs_.push_back(Token(sample, t));
        labels_.push_back(Token(sample, t + 1));
      }
    }
    return {inputs_.data(), labels_.data(), sample_ids_.data()};
  }

 private:
  int32_t Token(int64_t sample, int64_t t) const {
    const Philox4 words = stream_.Words(static_cast<uint64_t>(sample), static_cast<uint64_t>(t));
    return static_cast<int32_t>(words[0] % static_cast<uint64_t>(vocabulary_));
  }

  const BatchGeometry batch_;
  const int64_t vocabulary_;
  const RandomStream stream_ = RandomStream(1, "bench");
  std::vector<int32_t> inputs_;
  std::vector<int32_t> labels_;
  std::vector<int64_t> sample_ids_;
};

// Of the matrix products that one step executes, by op kind.
std::array<double, kNumOpKinds> FlopsOfStep(const StepPlan& step) {
  std::array<double, kNumOpKinds> flops = {};
  for (const StepEntry& entry : step.entries) {
    if (entry.kind != StepKind::kRun) continue;
    for (const Op& op : step.programs[entry.program]->segments[entry.segment].ops) {
      flops[static_cast<int>(op.kind)] += op.flops;
    }
  }
  return flops;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// `profile`: of all timed steps together, which took `total_seconds`.
std::vector<StepBenchmarkReport::Row> Rows(const StepProfile& profile, const StepPlan& step, int num_steps,
                                           double total_seconds) {
  const std::array<double, kNumOpKinds> flops = FlopsOfStep(step);
  std::vector<StepBenchmarkReport::Row> rows;
  double accounted = 0;
  for (int kind = 0; kind < kNumOpKinds; ++kind) {
    if (profile.op_calls[kind] == 0) continue;
    const double seconds = profile.op_seconds[kind] / num_steps;
    rows.push_back({Name(static_cast<OpKind>(kind)), profile.op_calls[kind] / num_steps, seconds,
                    profile.op_seconds[kind] / total_seconds, seconds > 0 ? flops[kind] / seconds / 1e9 : 0});
    accounted += profile.op_seconds[kind];
  }
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  rows.push_back({"other", 0, (total_seconds - accounted) / num_steps, 1 - accounted / total_seconds, 0});
  return rows;
}

}  // namespace

absl::StatusOr<StepBenchmarkReport> BenchmarkStep(const Config& config, const StepBenchmark& options,
                                                  Device& device) {
  CHECK_GE(options.num_steps, 1);
  StepBenchmarkReport report;
  report.device = device.description();
  report.dtype = config.train().dtype();
  report.num_threads = options.num_threads;
  const DType products = PrecisionOf(config).compute;
  const auto measure_peak = [&] {
    return device.is_host() ? MeasureGemmPeak(products, options.num_threads)
                            : MeasureCudaGemmPeak(products, device);
  };
  report.peak_gflops = measure_peak();

  SelfCommunicator world(&device);
  absl::StatusOr<std::unique_ptr<Mesh>> mesh = Mesh::Create(world, MeshSizes(config), LinksOf(config));
  CHECK(mesh.ok()) << mesh.status();
  RankPlan plan = MakeRankPlan(config, (*mesh)->coordinate(), device);
  Trainer trainer(plan, **mesh, device);
  const std::string& choices = config.train().gemm_choices();
  if (!device.is_host() && choices != "auto" && choices != "off") {  // there is no run.directory
    SelfCommunicator host;
    GemmChoiceReport chosen;
    const absl::Status status =
        ChooseGemms(trainer.Gemms(), choices, host, OpenCudaGemmLibrary(device).get(), &chosen);
    if (!status.ok()) return status;
  }
  trainer.Initialize(static_cast<uint64_t>(config.train().seed()));
  RandomTokens tokens(plan.batch, config.model().vocab_size());
  int step = 0;
  const auto run_steps = [&](int count) {
    std::vector<double> seconds;
    for (int i = 0; i < count; ++i, ++step) {
      const double begin = NowSeconds();
      const ReadSamples read = [&](int micro_batch) { return tokens.Read(step, micro_batch); };
      const ReadSamples read_next = [&](int micro_batch) { return tokens.Read(step + 1, micro_batch); };
      const StepResult result = trainer.Step(config.optimizer().learning_rate(), read, nullptr, read_next);
      seconds.push_back(NowSeconds() - begin);
      report.loss = result.loss;
    }
    return seconds;
  };
  run_steps(options.num_warmup_steps);
  trainer.profile().Reset();
  report.seconds = run_steps(options.num_steps);
  std::vector<double> profiled = report.seconds;
  if (!device.is_host()) {
    trainer.profile().Reset();
    trainer.profile().waits_for_every_op = true;
    profiled = run_steps(options.num_steps);
  }

  report.peak_gflops = std::max(report.peak_gflops, measure_peak());
  report.tokens = plan.batch.tokens();
  report.step_seconds = Median(report.seconds);
  report.tokens_per_second = static_cast<double>(report.tokens) / report.step_seconds;
  report.flops_per_token = plan.flops_per_token;
  report.share_of_peak = report.flops_per_token * report.tokens_per_second / (report.peak_gflops * 1e9);
  report.profile = Rows(trainer.profile(), plan.step, options.num_steps,
                        std::accumulate(profiled.begin(), profiled.end(), 0.0));
  return report;
}

std::string StepBenchmarkReport::ToJson() const {
  nlohmann::ordered_json json;
  json["tokens_per_second"] = tokens_per_second;
  json["step_seconds"] = step_seconds;
  json["flops_per_token"] = flops_per_token;
  json["peak_gflops"] = peak_gflops;
  json["share_of_peak"] = share_of_peak;
  json["device"] = device;
  json["dtype"] = dtype;
  json["threads"] = num_threads;
  json["tokens"] = tokens;
  json["seconds_of_steps"] = seconds;
  json["loss"] = loss;
  for (const Row& row : profile) {
    nlohmann::ordered_json entry = {
        {"op", row.op}, {"calls", row.calls}, {"seconds", row.seconds}, {"share", row.share}};
    if (row.gflops > 0) entry["gflops"] = row.gflops;
    json["profile"].push_back(entry);
  }
  return json.dump(2) + "\n";
}

std::string StepBenchmarkReport::ToString() const {
  std::string text = absl::StrFormat("%s, %s: %d tokens a step\n", device, dtype, tokens);
  absl::StrAppendFormat(&text, "  %-24s %12.4f  median of %d steps, %.4f to %.4f\n", "step_seconds",
                        step_seconds, seconds.size(), *std::min_element(seconds.begin(), seconds.end()),
                        *std::max_element(seconds.begin(), seconds.end()));
  absl::StrAppendFormat(&text, "  %-24s %12.1f\n", "tokens_per_second", tokens_per_second);
  absl::StrAppendFormat(&text, "  %-24s %12.4g  products of the mathematics, forward and backward\n",
                        "flops_per_token", flops_per_token);
  absl::StrAppendFormat(&text, "  %-24s %12.1f  the best product of this dtype, before or after\n",
                        "peak_gflops", peak_gflops);
  absl::StrAppendFormat(&text, "  %-24s %12.4f\n\n", "share_of_peak", share_of_peak);
  absl::StrAppendFormat(&text, "  %-26s %7s %12s %8s %10s\n", "op", "calls", "ms a step", "share", "GFLOP/s");
  for (const Row& row : profile) {
    absl::StrAppendFormat(&text, "  %-26s %7d %12.3f %6.1f %% %10s\n", row.op, row.calls, row.seconds * 1e3,
                          row.share * 100, row.gflops > 0 ? absl::StrFormat("%.1f", row.gflops) : "");
  }
  return text;
}

}  // namespace trireme
