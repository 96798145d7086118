#include "runtime/cpu/bench.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

TEST(BenchTest, TimesEveryKernelBesideMemcpy) {
  for (DType compute : {DType::kF32, DType::kBF16}) {
    const std::vector<KernelTiming> timings = BenchmarkKernels({.compute = compute,
                                                                .num_threads = 2,
                                                                .tokens = 128,
                                                                .width = 192,
                                                                .vocabulary = 1000,
                                                                .head_size = 32,
                                                                .repetitions = 1});
    EXPECT_EQ(timings[0].name, "memcpy");
    EXPECT_EQ(timings[0].share_of_memcpy, 1);
    EXPECT_EQ(timings.size(), 23);
    for (const KernelTiming& timing : timings) {
      EXPECT_GT(timing.seconds, 0) << timing.name;
      EXPECT_GT(timing.bytes, 0) << timing.name;
      EXPECT_GT(timing.share_of_memcpy, 0) << timing.name;
    }
  }
}

}  // namespace
}  // namespace trireme
