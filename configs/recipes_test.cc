// The recipes beside this file, loaded from the repository's root.
#include <filesystem>
#include <string>
#include <vector>

#include "configs/load.h"
#include "configs/validate.h"
#include "gtest/gtest.h"

namespace trireme {
namespace {

std::vector<std::string> Recipes() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator("configs")) {
    if (entry.path().extension() == ".textproto") paths.push_back(entry.path().string());
  }
  return paths;
}

TEST(RecipesTest, EveryRecipeTrainsOnOneRank) {
  EXPECT_GE(Recipes().size(), 5);
  for (const std::string& path : Recipes()) {
    absl::StatusOr<Config> config = LoadConfig(path, {}, kTrainingRequires);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_TRUE(ResolveMesh(&*config, 1).ok()) << path;
  }
}

TEST(RecipesTest, EveryRecipeTakesTheMeshesThatTheQuickstartUses) {
  for (const std::string& path : Recipes()) {
    for (const std::string mesh : {"mesh.dp=4", "mesh.tp=2", "mesh.pp=2", "mesh.pp=4"}) {
      absl::StatusOr<Config> config = LoadConfig(path, {mesh});
      ASSERT_TRUE(config.ok()) << config.status();
      EXPECT_TRUE(ResolveMesh(&*config, 4).ok()) << path << " " << mesh;
    }
  }
}

// HF's shapes, computed from the recipe: embedding, blocks, final norm, and a head of its own unless tied.
int64_t NumParameters(const ModelConfig& m) {
  const int64_t d = m.hidden_size();
  const int64_t f = m.intermediate_size();
  const int64_t kv = d / m.num_attention_heads() * m.num_key_value_heads();
  const bool gpt2 = m.architecture() == "gpt2";
  const int64_t block =
      gpt2 ? 4 * d * d + 2 * d * f + 4 * d + (3 * d + d + f + d) : 2 * d * d + 2 * d * kv + 3 * d * f + 2 * d;
  const int64_t ends = m.vocab_size() * d * (m.tie_word_embeddings() ? 1 : 2) +
                       (gpt2 ? m.max_position_embeddings() * d + 2 * d : d);
  return ends + m.num_hidden_layers() * block;
}

TEST(RecipesTest, ModelsHaveTheSizesTheyAreNamedFor) {
  EXPECT_EQ(NumParameters(LoadConfig("configs/gpt2_124m.textproto", {})->model()), 124439808);
  EXPECT_EQ(NumParameters(LoadConfig("configs/llama_1b.textproto", {})->model()), 1235814400);
  EXPECT_EQ(NumParameters(LoadConfig("configs/quickstart.textproto", {})->model()), 804224);
}

}  // namespace
}  // namespace trireme
