#include "launch/learning_rate.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

Config Schedule(const std::string& kind, int64_t warmup, int64_t decay, double floor) {
  Config config;
  config.mutable_train()->set_steps(100);
  config.mutable_optimizer()->set_learning_rate(2);
  config.mutable_learning_rate_schedule()->set_kind(kind);
  config.mutable_learning_rate_schedule()->set_warmup_steps(warmup);
  config.mutable_learning_rate_schedule()->set_decay_steps(decay);
  config.mutable_learning_rate_schedule()->set_min_learning_rate_ratio(floor);
  return config;
}

TEST(LearningRateTest, WarmsUpLinearlyToThePeak) {
  for (const char* kind : {"constant", "linear", "cosine", "wsd"}) {
    const Config config = Schedule(kind, 10, 50, 0.1);
    EXPECT_DOUBLE_EQ(LearningRate(config, 1), 0.2) << kind;
    EXPECT_DOUBLE_EQ(LearningRate(config, 5), 1.0) << kind;
    EXPECT_DOUBLE_EQ(LearningRate(config, 10), 2.0) << kind;
  }
}

TEST(LearningRateTest, EndsAtTheFloorAndStaysThere) {
  for (const char* kind : {"linear", "cosine"}) {
    const Config config = Schedule(kind, 10, 50, 0.1);
    EXPECT_DOUBLE_EQ(LearningRate(config, 50), 0.2) << kind;
    EXPECT_DOUBLE_EQ(LearningRate(config, 99), 0.2) << kind;
    EXPECT_DOUBLE_EQ(LearningRate(config, 30), 1.1) << kind;  // both are half-way down in the middle
  }
  EXPECT_GT(LearningRate(Schedule("cosine", 10, 50, 0.1), 20),
            LearningRate(Schedule("linear", 10, 50, 0.1), 20));
}

TEST(LearningRateTest, WsdDecaysOverTheLastSteps) {
  const Config config = Schedule("wsd", 10, 20, 0);
  EXPECT_DOUBLE_EQ(LearningRate(config, 80), 2.0);
  EXPECT_DOUBLE_EQ(LearningRate(config, 90), 1.0);
  EXPECT_DOUBLE_EQ(LearningRate(config, 100), 0.0);
}

TEST(LearningRateTest, ADecayThatEndsWithTheWarmUpNeverStarts) {
  EXPECT_DOUBLE_EQ(LearningRate(Schedule("cosine", 10, 10, 0), 60), 2.0);
}

}  // namespace
}  // namespace trireme
