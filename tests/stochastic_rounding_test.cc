// bf16 parameters without master weights: the same bits in every ZeRO stage, and right on average.
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "tests/mesh_run.h"

namespace trireme {
namespace {

constexpr int kSteps = 4;

MeshRunResult Train(bool rounds, int zero_stage, int dp) {
  return RunOnThreads("tiny_llama.textproto",
                      {"train.dtype=bf16", "train.global_batch=8", "train.micro_batch=4", "mesh.tp=1",
                       "mesh.pp=1", "optimizer.learning_rate=1e-5",
                       absl::StrCat("optimizer.stochastic_rounding=", rounds ? "true" : "false"),
                       absl::StrCat("mesh.dp=", dp), absl::StrCat("parallel.zero_stage=", zero_stage)},
                      kSteps);
}

TEST(StochasticRoundingTest, EveryZeroStageHasTheSameBits) {
  const MeshRunResult expected = Train(true, 0, 2);
  for (int zero_stage : {1, 2, 3}) {
    const MeshRunResult found = Train(true, zero_stage, 2);
    EXPECT_EQ(found.losses, expected.losses) << zero_stage;
    EXPECT_EQ(found.parameters, expected.parameters) << zero_stage;
  }
}

// Updates of a tenth of a unit in the last place: nearest rounding would lose every one of them. A rounding
// is off by less than a unit, 2^-7 of the number, and its deviation is half of that at most; over n elements
// and all steps these add as a random walk does, of which six deviations are passed once in 10^9. That the
// two runs see slightly different parameters moves an update by far less than a tenth.
TEST(StochasticRoundingTest, ParametersFollowThoseWithMasterWeightsOnAverage) {
  const MeshRunResult masters = Train(false, 1, 1), rounded = Train(true, 1, 1);
  int64_t moved = 0, count = 0;
  for (const auto& [name, expected] : masters.parameters) {
    const std::vector<double>& found = rounded.parameters.at(name);
    const std::vector<double>& initial = rounded.initial_parameters.at(name);
    double error = 0, variance = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      // Both began with the same number, but for its rounding to bf16.
      const double drift = expected[i] - masters.initial_parameters.at(name)[i];
      error += (found[i] - initial[i]) - drift;
      const double unit = std::abs(initial[i]) * 0x1p-7;
      variance += kSteps * unit * unit / 4;
      moved += found[i] != initial[i] ? 1 : 0;
      ++count;
    }
    EXPECT_LE(std::abs(error), 6 * std::sqrt(variance) + 1e-6 * static_cast<double>(found.size())) << name;
  }
  EXPECT_GT(moved, count / 100);
  EXPECT_LT(moved, count);
}

}  // namespace
}  // namespace trireme
