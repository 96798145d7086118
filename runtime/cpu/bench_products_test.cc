#include "runtime/cpu/bench_products.h"

#include <gtest/gtest.h>

#include "runtime/cpu/gemm_peak.h"

namespace trireme {
namespace {

TEST(BenchProductsTest, TimesEveryProductBesideTheBest) {
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    const std::vector<ProductTiming> timings = BenchmarkProducts({.compute = compute,
                                                                  .num_threads = 2,
                                                                  .tokens = 64,
                                                                  .width = 64,
                                                                  .vocabulary = 512,
                                                                  .heads = 2,
                                                                  .sequence_lengths = {16, 64, 100},
                                                                  .repetitions = 1});
    EXPECT_EQ(timings.size(), 1 + 5 * 3 + 3 * 2);
    EXPECT_EQ(timings[0].share_of_peak, 1);
    for (const ProductTiming& timing : timings) EXPECT_GT(timing.gflops, 0) << timing.name;
    EXPECT_EQ(timings[3].name, "64 -> 192 weight gradient");
    EXPECT_EQ(timings[16].name, "attention of 4 x 16 forward");
  }
}

TEST(GemmPeakTest, IsThatOfACpu) {
  const double peak = MeasureGemmPeak(DType::kF32, 1);
  EXPECT_GT(peak, 0.5);
  EXPECT_LT(peak, 5000);
}

}  // namespace
}  // namespace trireme
