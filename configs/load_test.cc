#include "configs/load.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "configs/fields.h"
#include "configs/test_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Errors(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return std::string(ParseConfig(text, "c.textproto", overrides).status().message());
}

Config Loaded(const FieldTexts& changes, const std::vector<std::string>& overrides = {}) {
  absl::StatusOr<Config> config = ParseConfig(ValidTextWith(changes), "c.textproto", overrides);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : Config();
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = ::testing::TempDir() + "/trireme_configs_XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    unlink((path_ + "/file").c_str());
    rmdir(path_.c_str());
  }
  std::string file() const { return path_ + "/file"; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(LoadTest, SyntaxErrorIsReportedAloneWithLineAndColumn) {
  EXPECT_EQ(Errors("model {\n  hidden_size 48\n}\ntrain { steps: -1 }\n"),
            "c.textproto:2:15: Expected \":\", found \"48\".; in: hidden_size 48");
  EXPECT_THAT(Errors("model {\n"), StartsWith("c.textproto:2:1: "));
}

TEST(LoadTest, ValueOfTheWrongTypeShowsItsPlaceAndLine) {
  EXPECT_EQ(Errors("model {\n  hidden_size: \"wide\"\n}\n"),
            "c.textproto:2:16: Expected integer, got: \"wide\"; in: hidden_size: \"wide\"");
}

TEST(LoadTest, DuplicateFieldIsRefused) {
  EXPECT_THAT(Errors("train { steps: 1 steps: 2 }"),
              HasSubstr("Non-repeated field \"steps\" is specified multiple times"));
  EXPECT_THAT(Errors("train { steps: 1 }\ntrain { seed: 2 }"),
              HasSubstr("Non-repeated field \"train\" is specified multiple times"));
}

TEST(LoadTest, UnknownFieldsAreReportedTogetherWithValidationErrors) {
  const std::string errors = Errors(ValidTextWith({{"model.hiden_size", "3"}, {"train.steps", "-5"}}) +
                                    "speed { very: \"high\" }\n");
  EXPECT_THAT(errors, HasSubstr("c.textproto:1:47: model.hiden_size: no such field; did you mean "
                                "model.hidden_size? model has: architecture, hidden_size, "));
  EXPECT_THAT(errors, HasSubstr("c.textproto:4:1: speed: no such field; there are: model, mesh, "));
  EXPECT_THAT(errors, HasSubstr("\ntrain.steps: -5: out of range"));
}

TEST(LoadTest, FieldInTheWrongGroupIsToldItsRightPlace) {
  EXPECT_THAT(Errors(ValidTextWith({{"model.recompute", "\"none\""}})),
              HasSubstr("model.recompute: no such field; did you mean parallel.recompute? model has: "));
}

TEST(LoadTest, DeepNestingIsRefusedWithoutRecursion) {
  std::string nested;
  for (int i = 0; i < 500000; ++i) nested += "a{";
  EXPECT_THAT(Errors(nested), HasSubstr("c.textproto:1:"));
  EXPECT_LT(Errors(nested).size(), 1000);
}

TEST(LoadTest, OverridesReplaceFieldsAndTheLastOneWins) {
  const Config config = Loaded({{"parallel.recompute", "\"full\""}},
                               {"train.steps=7", "parallel.recompute=selective", "optimizer.beta1=0.5",
                                "model.tie_word_embeddings=true", "train.steps=9", "data.path=a b=c/d"});
  EXPECT_EQ(config.train().steps(), 9);
  EXPECT_EQ(config.parallel().recompute(), "selective");
  EXPECT_EQ(config.optimizer().beta1(), 0.5);
  EXPECT_TRUE(config.model().tie_word_embeddings());
  EXPECT_EQ(config.data().path(), "a b=c/d");
}

TEST(LoadTest, BadOverridesAreAllReported) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"train.stepz=1", "train.stepz: 1: no such field; did you mean train.steps? train has: steps, "},
      {"trainer.steps=1", "trainer.steps: 1: no such field; did you mean train? there are: model, "},
      {"steps=1", "steps: 1: no such field; did you mean train.steps? there are: model, "},
      {"train=1", "train: 1: a group of fields, which has no value; set one of them: train has: steps, "},
      {"optimizer.beta1.x=1",
       "optimizer.beta1.x: 1: no such field; optimizer.beta1 has no fields of its own"},
      {"train.seed", "--set train.seed: no '='; write it as field=value"},
      {"train.steps=1e3", "train.steps: 1e3: not a whole number of 64 bits; use digits only"},
      {"train.global_batch=99999999999999999999",
       "train.global_batch: 99999999999999999999: not a whole number of 64 bits; use digits only"},
      {"optimizer.epsilon=small", "optimizer.epsilon: small: not a number; write it like 0.1 or 3e-4"},
      {"model.tie_word_embeddings=yes",
       "model.tie_word_embeddings: yes: not a truth value; use true or false"},
      {"model.vocab_size=", "model.vocab_size: \"\": not a whole number"},
      {"train.micro_batch=-3", "train.micro_batch: -3: out of range"},
      {"optimizer.beta2=nan", "optimizer.beta2: nan: out of range"},
      {"optimizer.learning_rate=1e999", "optimizer.learning_rate: inf: out of range"},
      {"parallel.recompute=maybe", "parallel.recompute: maybe: no such choice; use none, selective, full"},
      {"=1", "\"\": 1: no such field; there are: "},
  };
  std::vector<std::string> overrides;
  for (const auto& [text, message] : cases) overrides.push_back(text);
  const std::string errors = Errors(ValidTextWith({}), overrides);
  for (const auto& [text, message] : cases) EXPECT_THAT("\n" + errors, HasSubstr("\n" + message));
  EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n') + 1, cases.size()) << errors;
}

TEST(LoadTest, MessageOfALongHostileValueStaysShortAndPrintable) {
  const std::string errors = Errors(ValidTextWith({}), {"train.dtype=\x1b[31m" + std::string(100000, 'x')});
  EXPECT_LT(errors.size(), 300);
  EXPECT_THAT(errors, StartsWith("train.dtype: \\033[31mxxx"));
}

TEST(LoadTest, EveryScalarWithADefaultIsSet) {
  const Config config = Loaded({{"model.num_key_value_heads", ""}, {"model.max_position_embeddings", ""}});
  for (const std::string& field : AllFields()) {
    const bool later = field.rfind("mesh.", 0) == 0 || field == "train.micro_batch";
    const bool path = field.rfind("data.", 0) == 0 || field == "run.directory";
    const bool experts =
        field.find("expert") != std::string::npos || field.find("router") != std::string::npos;
    EXPECT_EQ(IsSet(config, field), !later && !path && !experts) << field;
  }
  EXPECT_EQ(config.model().num_key_value_heads(), 8);
  EXPECT_EQ(config.model().max_position_embeddings(), 24);
  EXPECT_FALSE(config.model().tie_word_embeddings());
  EXPECT_EQ(config.learning_rate_schedule().decay_steps(), 20);
}

TEST(LoadTest, Gpt2HasItsOwnDefaults) {
  const Config config = Loaded({{"model.architecture", "\"gpt2\""},
                                {"model.num_key_value_heads", ""},
                                {"model.intermediate_size", ""}});
  EXPECT_EQ(config.model().intermediate_size(), 4 * 48);
  EXPECT_TRUE(config.model().tie_word_embeddings());
}

TEST(LoadTest, MixtralHasItsOwnDefaults) {
  const Config config = Loaded({{"model.architecture", "\"mixtral\""}});
  EXPECT_EQ(config.model().num_local_experts(), 8);
  EXPECT_EQ(config.model().num_experts_per_tok(), 2);
  EXPECT_EQ(config.model().num_shared_experts(), 0);
  EXPECT_EQ(config.model().expert_capacity_factor(), 0);
  EXPECT_EQ(config.model().router_aux_loss_coef(), 0.001);
  EXPECT_EQ(config.model().router_z_loss_coef(), 0);
  EXPECT_TRUE(config.train().cuda_graphs());
  EXPECT_EQ(config.train().gemm_choices(), "auto");
  EXPECT_FALSE(config.model().tie_word_embeddings());
}

TEST(LoadTest, RunShorterThanItsWarmUpIsValid) {
  for (const char* kind : {"constant", "cosine", "linear", "wsd"}) {
    for (const char* steps : {"0", "5"}) {
      Loaded({{"learning_rate_schedule.kind", std::string("\"") + kind + "\""},
              {"learning_rate_schedule.warmup_steps", "100"},
              {"train.steps", steps}});
    }
  }
}

TEST(LoadTest, TrainingNeedsItsPathsAndSaysSo) {
  const absl::Status status =
      ParseConfig(ValidTextWith({{"data.path", "\"\""}, {"train.seed", "-1"}}), "c", {}, kTrainingRequires)
          .status();
  EXPECT_EQ(status.message(),
            "train.seed: -1: out of range; use a whole number from 0 to 9223372036854775807\n"
            "data.path: \"\": required for training; set it to a path\n"
            "run.directory: unset: required for training; set it to a path");
  EXPECT_TRUE(
      ParseConfig(ValidTextWith({}), "c", {"data.path=d", "run.directory=r"}, kTrainingRequires).ok());
}

TEST(LoadTest, FileIsReadAndNamedInErrors) {
  TemporaryFolder folder;
  std::ofstream(folder.file()) << ValidTextWith({}) << "nonsense: 1\n";
  EXPECT_THAT(std::string(LoadConfig(folder.file(), {}).status().message()),
              StartsWith(folder.file() + ":4:1: nonsense: no such field"));
  std::ofstream(folder.file()) << ValidTextWith({});
  EXPECT_TRUE(LoadConfig(folder.file(), {}).ok());
}

TEST(LoadTest, WhatIsNoReadableConfigurationFileIsRefused) {
  TemporaryFolder folder;
  EXPECT_EQ(LoadConfig(folder.file(), {}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(LoadConfig(folder.path(), {}).status().message()), HasSubstr("not a regular file"));
  ASSERT_EQ(mkfifo(folder.file().c_str(), 0600), 0);
  EXPECT_THAT(std::string(LoadConfig(folder.file(), {}).status().message()), HasSubstr("not a regular file"));
  unlink(folder.file().c_str());
  std::ofstream(folder.file()) << std::string((1 << 20) + 1, ' ');
  EXPECT_THAT(std::string(LoadConfig(folder.file(), {}).status().message()), HasSubstr("1048577 bytes"));
}

}  // namespace
}  // namespace trireme
