#include <string>

#include "configs/load.h"
#include "configs/test_config.h"
#include "configs/validate.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trireme {
namespace {

Config Loaded(const FieldTexts& changes) {
  absl::StatusOr<Config> config = ParseConfig(ValidTextWith(changes), "c.textproto", {});
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : Config();
}

std::string Errors(const FieldTexts& changes, int num_ranks) {
  Config config = Loaded(changes);
  return std::string(ResolveMesh(&config, num_ranks).message());
}

TEST(ResolveMeshTest, UnsetAxesAreOneAndUnsetDpTakesTheRest) {
  Config config = Loaded({{"mesh.tp", "2"}, {"mesh.pp", "2"}});
  ASSERT_TRUE(ResolveMesh(&config, 8).ok());
  EXPECT_EQ(config.mesh().pp(), 2);
  EXPECT_EQ(config.mesh().dp(), 2);
  EXPECT_EQ(config.mesh().cp(), 1);
  EXPECT_EQ(config.mesh().tp(), 2);
  EXPECT_EQ(config.mesh().ep(), 1);
  EXPECT_EQ(config.train().micro_batch(), 4);
}

TEST(ResolveMeshTest, MicroBatchThatIsSetStays) {
  Config config = Loaded({{"train.micro_batch", "2"}});
  ASSERT_TRUE(ResolveMesh(&config, 2).ok());
  EXPECT_EQ(config.train().micro_batch(), 2);
}

TEST(ResolveMeshTest, ProductMustEqualTheRanks) {
  EXPECT_EQ(Errors({{"mesh.dp", "2"}, {"mesh.tp", "2"}}, 8),
            "mesh.dp: 2: dp 2 x pp 1 x cp 1 x tp 2 makes 4 ranks, but the job has 8; start 4 ranks, or leave "
            "dp unset "
            "and let the other axes' product divide 8");
  EXPECT_EQ(Errors({{"mesh.pp", "3"}}, 4),
            "mesh.dp: unset: pp 3 x cp 1 x tp 1 makes 3, which does not divide the job's 4 ranks; start a "
            "multiple of "
            "3 ranks or use smaller axes");
}

TEST(ResolveMeshTest, LargestAxesDoNotOverflow) {
  const std::string errors = Errors({{"mesh.pp", "32768"}, {"mesh.tp", "32768"}, {"mesh.dp", "32768"}}, 1);
  EXPECT_THAT(errors, ::testing::HasSubstr("makes 35184372088832 ranks, but the job has 1"));
}

TEST(ResolveMeshTest, ExpertAxisMustDivideReplicasAndExperts) {
  EXPECT_EQ(Errors({{"model.architecture", "\"mixtral\""}, {"mesh.ep", "3"}, {"train.global_batch", "8"}}, 4),
            "mesh.ep: 3: does not divide mesh.dp x mesh.cp, 4; use 1, 2 or 4\n"
            "mesh.ep: 3: does not divide model.num_local_experts 8; use 1, 2 or 4");
  Config config = Loaded({{"model.architecture", "\"mixtral\""}, {"mesh.ep", "4"}});
  EXPECT_TRUE(ResolveMesh(&config, 4).ok());
}

TEST(ResolveMeshTest, TensorAxisMustDivideHeadsAndFeedForward) {
  EXPECT_EQ(Errors({{"mesh.tp", "3"}, {"model.num_key_value_heads", "8"}}, 3),
            "mesh.tp: 3: num_attention_heads 8 is not divisible by it; use 1, 2, 4 or 8\n"
            "mesh.tp: 3: num_key_value_heads 8 is neither a multiple nor a divisor of it; use 1, 2, 4 or 8");
  EXPECT_EQ(Errors({{"mesh.tp", "2"}, {"model.intermediate_size", "121"}}, 2),
            "mesh.tp: 2: intermediate_size 121 is not divisible by it; use 1");
}

TEST(ResolveMeshTest, TensorRanksMayShareKeyHeadsEvenly) {
  for (const char* heads : {"1", "2", "4"}) {
    EXPECT_EQ(Errors({{"mesh.tp", "8"}, {"model.num_key_value_heads", heads}}, 8), "") << heads;
  }
  // Ranks whose queries would read one and a half of them.
  const FieldTexts six_of_twelve = {{"model.num_attention_heads", "12"}, {"model.num_key_value_heads", "6"}};
  FieldTexts four = six_of_twelve, twelve = six_of_twelve;
  four["mesh.tp"] = "4";
  twelve["mesh.tp"] = "12";
  EXPECT_EQ(
      Errors(four, 4),
      "mesh.tp: 4: num_key_value_heads 6 is neither a multiple nor a divisor of it; use 1, 2, 3, 6 or 12");
  EXPECT_EQ(Errors(twelve, 12), "");
}

TEST(ResolveMeshTest, SequenceParallelRanksNeedEqualShares) {
  const FieldTexts five = {
      {"mesh.tp", "4"}, {"parallel.sequence_parallel", "true"}, {"train.sequence_length", "5"}};
  EXPECT_EQ(Errors(five, 8), "");
  FieldTexts odd = five;
  odd["train.micro_batch"] = "2";
  EXPECT_EQ(Errors(odd, 8),
            "parallel.sequence_parallel: true: the 10 tokens of a micro-batch (train.micro_batch 2 x "
            "train.sequence_length 5) are not divisible by mesh.tp 4; change one of them, or use false");
}

TEST(ResolveMeshTest, ContextAxisMustDivideHeadsAndTokens) {
  const FieldTexts eight = {{"mesh.cp", "8"}, {"parallel.context_form", "\"all_to_all\""}};
  EXPECT_EQ(Errors(eight, 8),
            "mesh.cp: 8: num_key_value_heads 4 is not divisible by mesh.cp x mesh.tp, 8, as context_form "
            "all_to_all needs; use 1, 2 or 4, or parallel.context_form ring");
  FieldTexts four = eight;
  four["mesh.cp"] = "4";
  EXPECT_EQ(Errors(four, 8), "");
  four["mesh.tp"] = "2";
  EXPECT_EQ(Errors(four, 8),
            "mesh.cp: 4: num_key_value_heads 4 is not divisible by mesh.cp x mesh.tp, 8, as context_form "
            "all_to_all needs; use 1 or 2, or parallel.context_form ring");
  // Two ranks share a key head, which cannot be dealt out again.
  four["mesh.cp"] = "2";
  four["model.num_key_value_heads"] = "1";
  EXPECT_EQ(Errors(four, 4),
            "mesh.cp: 2: num_key_value_heads 1 is not divisible by mesh.cp x mesh.tp, 4, as context_form "
            "all_to_all needs; use 1, or parallel.context_form ring");
  four = {{"mesh.cp", "4"},
          {"parallel.context_form", "\"all_to_all\""},
          {"train.sequence_length", "5"},
          {"train.micro_batch", "2"}};
  EXPECT_EQ(Errors(four, 4),
            "mesh.cp: 4: the 10 tokens of a micro-batch (train.micro_batch 2 x train.sequence_length 5) are "
            "not divisible by it; change one of them");
  EXPECT_EQ(Errors({{"mesh.cp", "8"}}, 8), "");
  EXPECT_EQ(
      Errors({{"mesh.cp", "2"}, {"train.sequence_length", "5"}, {"train.micro_batch", "2"}}, 2),
      "mesh.cp: 2: the 10 tokens of a micro-batch (train.micro_batch 2 x train.sequence_length 5) are "
      "not divisible by 2 x mesh.cp, as the chunks of context_form ring need; change one of them, or use "
      "parallel.context_form all_to_all");
}

TEST(ResolveMeshTest, EveryStageNeedsABlock) {
  EXPECT_EQ(Errors({{"mesh.pp", "6"}}, 6),
            "mesh.pp: 6: more stages than model.num_hidden_layers 5; use at most 5");
  EXPECT_EQ(Errors({{"mesh.pp", "5"}}, 5), "");
}

TEST(ResolveMeshTest, BatchMustSplitOverReplicasAndMicroBatches) {
  EXPECT_EQ(Errors({}, 3), "train.global_batch: 8: not divisible by mesh.dp 3; use a multiple of 3");
  EXPECT_EQ(Errors({{"train.micro_batch", "8"}}, 2),
            "train.micro_batch: 8: does not divide the 4 sequences of one replica (train.global_batch / "
            "mesh.dp); use "
            "1, 2 or 4");
}

TEST(ResolveMeshTest, ErrorsComeTogetherAndLeaveTheConfigurationAsItWas) {
  Config config = Loaded({{"mesh.tp", "3"}, {"mesh.pp", "7"}, {"model.num_key_value_heads", "8"}});
  const std::string before = config.DebugString();
  EXPECT_EQ(std::string(ResolveMesh(&config, 21 * 3).message()),
            "mesh.tp: 3: num_attention_heads 8 is not divisible by it; use 1, 2, 4 or 8\n"
            "mesh.tp: 3: num_key_value_heads 8 is neither a multiple nor a divisor of it; use 1, 2, 4 or 8\n"
            "mesh.pp: 7: more stages than model.num_hidden_layers 5; use at most 5\n"
            "train.global_batch: 8: not divisible by mesh.dp 3; use a multiple of 3");
  EXPECT_EQ(config.DebugString(), before);
}

}  // namespace
}  // namespace trireme
