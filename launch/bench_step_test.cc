#include "launch/bench_step.h"

#include <glog/logging.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "configs/load.h"
#include "configs/validate.h"
#include "runtime/cpu/cpu_device.h"

namespace trireme {
namespace {

StepBenchmarkReport Measure(const std::string& dtype) {
  absl::StatusOr<Config> config =
      LoadConfig("configs/tiny_llama.textproto",
                 std::vector<std::string>{"mesh.dp=1", "train.micro_batch=4", "train.dtype=" + dtype});
  CHECK(config.ok()) << config.status();
  CHECK(ResolveMesh(&*config, 1).ok());
  CpuDevice device(1);
  absl::StatusOr<StepBenchmarkReport> report =
      BenchmarkStep(*config, {.num_threads = 1, .num_warmup_steps = 1, .num_steps = 3}, device);
  CHECK(report.ok()) << report.status();
  return *std::move(report);
}

TEST(BenchStepTest, FiguresFitTogether) {
  for (const char* dtype : {"fp32", "bf16"}) {
    const StepBenchmarkReport report = Measure(dtype);
    EXPECT_EQ(report.seconds.size(), 3);
    EXPECT_EQ(report.tokens, 8 * 24);
    EXPECT_GT(report.step_seconds, 0);
    EXPECT_DOUBLE_EQ(report.tokens_per_second * report.step_seconds, 8 * 24);
    EXPECT_GT(report.peak_gflops, 0);
    EXPECT_NEAR(report.share_of_peak,
                report.flops_per_token * report.tokens_per_second / report.peak_gflops / 1e9, 1e-9);
    EXPECT_GT(report.share_of_peak, 0);
    EXPECT_LT(report.share_of_peak, 1);
    // Made-up tokens cannot be learned: the loss stays near that of guessing.
    EXPECT_NEAR(report.loss, std::log(257), 0.5);
  }
}

TEST(BenchStepTest, TheProfileAccountsForTheWholeStep) {
  const StepBenchmarkReport report = Measure("fp32");
  double shares = 0, seconds = 0, flops = 0;
  for (const StepBenchmarkReport::Row& row : report.profile) {
    shares += row.share;
    seconds += row.seconds;
    flops += row.gflops * row.seconds * 1e9;
    EXPECT_GE(row.share, 0) << row.op;
    EXPECT_EQ(row.calls == 0, row.op == "other") << row.op;
  }
  EXPECT_NEAR(shares, 1, 1e-9);
  const double mean = (report.seconds[0] + report.seconds[1] + report.seconds[2]) / 3;
  EXPECT_NEAR(seconds, mean, 1e-9);
  // Nothing is recomputed here, so what was executed is what the mathematics needs.
  EXPECT_NEAR(flops, report.flops_per_token * static_cast<double>(report.tokens), 1e-6 * flops);
}

TEST(BenchStepTest, JsonHoldsTheFieldsThatOthersRead) {
  const StepBenchmarkReport report = Measure("fp32");
  const auto json = nlohmann::json::parse(report.ToJson());
  for (const char* field :
       {"tokens_per_second", "step_seconds", "flops_per_token", "peak_gflops", "share_of_peak"}) {
    EXPECT_GT(json.at(field).get<double>(), 0) << field;
  }
  EXPECT_EQ(json.at("profile").size(), report.profile.size());
  for (const auto& row : json.at("profile")) {
    EXPECT_TRUE(row.contains("op") && row.contains("seconds") && row.contains("share")) << row;
  }
}

}  // namespace
}  // namespace trireme
