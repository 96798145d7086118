#include "runtime/bench_products.h"

#include <gtest/gtest.h>

#include "runtime/cpu/cpu_device.h"
#include "runtime/cpu/gemm_peak.h"

namespace trireme {
namespace {

TEST(BenchProductsTest, TimesEveryProductBesideTheBest) {
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    CpuDevice device(2);
    const std::vector<ProductTiming> timings = BenchmarkProducts({.compute = compute,
                                                                  .tokens = 64,
                                                                  .width = 64,
                                                                  .vocabulary = 512,
                                                                  .heads = 2,
                                                                  .sequence_lengths = {16, 64, 100},
                                                                  .repetitions = 1},
                                                                 100, device);
    EXPECT_EQ(timings.size(), 5 * 3 + 3 + 3 * 2);
    for (const ProductTiming& timing : timings) EXPECT_GT(timing.share_of_peak, 0) << timing.name;
    EXPECT_EQ(timings[2].name, "64 -> 192 weight gradient");
    EXPECT_EQ(timings[15].name, "8 experts 64 -> 128 forward");
    EXPECT_EQ(timings[18].name, "attention of 4 x 16 forward");
  }
}

TEST(GemmPeakTest, IsThatOfACpu) {
  const double peak = MeasureGemmPeak(DType::kF32, 1);
  EXPECT_GT(peak, 0.5);
  EXPECT_LT(peak, 5000);
}

}  // namespace
}  // namespace trireme
