#include "runtime/bench.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/cpu/cpu_device.h"
#include "runtime/op_table.h"

namespace trireme {
namespace {

TEST(BenchTest, TimesEveryKernelBesideMemcpy) {
  for (DType compute : {DType::kF32, DType::kBF16}) {
    CpuDevice device(2);
    const std::vector<KernelTiming> timings = BenchmarkKernels({.compute = compute,
                                                                .tokens = 128,
                                                                .width = 192,
                                                                .vocabulary = 1000,
                                                                .head_tokens = 2,
                                                                .head_size = 32,
                                                                .repetitions = 1},
                                                               device);
    EXPECT_EQ(timings[0].name, "memcpy");
    EXPECT_EQ(timings[0].share_of_copy, 1);
    EXPECT_EQ(timings.size(), 36);
    for (OpKind kind : {OpKind::kAddRmsNormGrad, OpKind::kRouter, OpKind::kRouterGrad, OpKind::kCountChoices,
                        OpKind::kRouterLossGrad, OpKind::kGroupByExpert, OpKind::kPermuteRows,
                        OpKind::kPermuteRowsGrad, OpKind::kCombineRows, OpKind::kCombineRowsGrad}) {
      EXPECT_EQ(std::count_if(timings.begin(), timings.end(),
                              [&](const KernelTiming& timing) { return timing.name == Name(kind); }),
                1)
          << Name(kind);
    }
    for (const KernelTiming& timing : timings) {
      EXPECT_GT(timing.seconds, 0) << timing.name;
      EXPECT_GT(timing.bytes, 0) << timing.name;
      EXPECT_GT(timing.share_of_copy, 0) << timing.name;
    }
  }
}

}  // namespace
}  // namespace trireme
