#include "launch/bench_kernels.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "runtime/cpu/cpu_device.h"

namespace trireme {
namespace {

TEST(BenchKernelsTest, HasARowAKernelWithItsFloor) {
  CpuDevice device(1);
  const KernelSizes sizes = {
      {.tokens = 64, .width = 192, .vocabulary = 1000, .head_tokens = 2, .head_size = 32, .repetitions = 1},
      {{.tokens = 32,
        .width = 64,
        .vocabulary = 96,
        .heads = 2,
        .sequence_lengths = {32},
        .repetitions = 1}}};
  const KernelReport report = ReportKernels(sizes, 50, device);
  const auto json = nlohmann::json::parse(report.ToJson());
  ASSERT_EQ(json["kernels"].size(), report.rows.size());
  EXPECT_EQ(json["dtype"], "f32");
  EXPECT_EQ(json["peak_gflops"], 50);
  for (size_t i = 0; i < report.rows.size(); ++i) {
    const KernelRow& row = report.rows[i];
    const nlohmann::json& entry = json["kernels"][i];
    EXPECT_NE(report.ToString().find(row.name), std::string::npos) << row.name;
    EXPECT_EQ(entry["name"], row.name);
    const double ceiling = row.floor == Floor::kBytes ? report.copy_bytes_per_second : 50e9;
    const double work = entry[row.floor == Floor::kBytes ? "bytes" : "flops"];
    EXPECT_NEAR(entry["share_of_floor"], work / row.seconds / ceiling, 1e-9 * row.share) << row.name;
    EXPECT_FALSE(entry.contains("gate")) << "gates are a GPU's";
  }
  EXPECT_EQ(report.rows.back().name, "attention of 1 x 32 backward, head 32");
}

}  // namespace
}  // namespace trireme
