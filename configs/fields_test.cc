#include "configs/fields.h"

#include <set>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trireme {
namespace {

// Others script against these names: none may go.
TEST(FieldsTest, ContractNamesExist) {
  const std::vector<std::string> fields = AllFields();
  const std::set<std::string> existing(fields.begin(), fields.end());
  const std::pair<const char*, const char*> contract[] = {
      {"model",
       "architecture hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
       "vocab_size max_position_embeddings rope_theta rms_norm_eps layer_norm_eps tie_word_embeddings"},
      {"mesh", "pp dp cp tp ep"},
      {"parallel", "zero_stage sequence_parallel context_form recompute"},
      {"pipeline", "schedule virtual_stages"},
      {"train", "steps sequence_length global_batch micro_batch seed dtype"},
      {"optimizer", "learning_rate beta1 beta2 epsilon weight_decay clip_norm"},
      {"learning_rate_schedule", "kind warmup_steps"},
      {"data", "path"},
      {"checkpoint", "interval keep"},
      {"run", "directory"},
  };
  for (const auto& [group, names] : contract) {
    for (const std::string& name : std::vector<std::string>(absl::StrSplit(names, ' '))) {
      EXPECT_EQ(existing.count(std::string(group) + "." + name), 1) << group << "." << name;
    }
  }
}

TEST(FieldsTest, EveryScalarTellsUnsetFromZero) {
  for (const std::string& field : AllFields()) EXPECT_TRUE(FindField(field)->back()->has_presence()) << field;
}

TEST(FieldsTest, ReadsBackWhatWasSet) {
  Config config;
  ASSERT_TRUE(SetField(&config, "train.steps", "12").ok());
  ASSERT_TRUE(SetField(&config, "optimizer.beta1", "0.5").ok());
  ASSERT_TRUE(SetField(&config, "model.tie_word_embeddings", "true").ok());
  ASSERT_TRUE(SetField(&config, "data.path", "a/b").ok());
  EXPECT_EQ(IntegerAt(config, "train.steps"), 12);
  EXPECT_EQ(NumberAt(config, "optimizer.beta1"), 0.5);
  EXPECT_EQ(IntegerAt(config, "model.tie_word_embeddings"), 1);
  EXPECT_EQ(StringAt(config, "data.path"), "a/b");
  EXPECT_EQ(TextAt(config, "train.steps"), "12");
  EXPECT_EQ(TextAt(config, "optimizer.beta1"), "0.5");
  EXPECT_EQ(TextAt(config, "model.tie_word_embeddings"), "true");
  EXPECT_FALSE(IsSet(config, "train.seed"));
  EXPECT_FALSE(IsSet(config, "mesh.dp"));
}

TEST(FieldsTest, FailedSetLeavesTheFieldUnset) {
  Config config;
  EXPECT_FALSE(SetField(&config, "train.steps", "12x").ok());
  EXPECT_FALSE(IsSet(config, "train.steps"));
}

}  // namespace
}  // namespace trireme
