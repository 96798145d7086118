// Every pair of features composes, and a sample of all triples: on thread ranks, in double, each combination
// trains as one rank does. A feature is a row of kFeatures; what two features cannot have together (two
// schedules) they show by setting one field to two values.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/mesh_run.h"

namespace trireme {
namespace {

// As in mesh_equality_test, which says why.
constexpr double kTolerance = 1e-10;
constexpr int kSteps = 3;
constexpr int kMostRanks = 12;
#ifdef TRIREME_SANITIZED
constexpr int kNumTriples = 15;  // each takes ten times as long
#else
constexpr int kNumTriples = 40;
#endif

struct Feature {
  const char* name;
  AxisSizes mesh;                             // pp, dp, cp, tp at least
  std::map<std::string, std::string> fields;  // of the configuration
  bool needs_experts = false;
};

const Feature kFeatures[] = {
    {"zero 0", {{1, 2, 1, 1}}, {{"parallel.zero_stage", "0"}}},
    {"zero 1", {{1, 2, 1, 1}}, {{"parallel.zero_stage", "1"}}},
    {"zero 2", {{1, 2, 1, 1}}, {{"parallel.zero_stage", "2"}}},
    {"zero 3", {{1, 2, 1, 1}}, {{"parallel.zero_stage", "3"}}},
    {"tp", {{1, 1, 1, 2}}, {{"parallel.sequence_parallel", "false"}}},
    {"tp, sequence parallel", {{1, 1, 1, 2}}, {{"parallel.sequence_parallel", "true"}}},
    {"cp, all to all", {{1, 1, 2, 1}}, {{"parallel.context_form", "all_to_all"}}},
    {"cp, ring", {{1, 1, 2, 1}}, {{"parallel.context_form", "ring"}}},
    // Two ranks share a key head, which leaves none to deal out over cp.
    {"tp over fewer key heads",
     {{1, 1, 1, 4}},
     {{"model.num_key_value_heads", "2"}, {"parallel.context_form", "ring"}}},
    {"1f1b", {{2, 1, 1, 1}}, {{"pipeline.schedule", "1f1b"}}},
    {"gpipe", {{2, 1, 1, 1}}, {{"pipeline.schedule", "gpipe"}}},
    {"interleaved", {{2, 1, 1, 1}}, {{"pipeline.schedule", "interleaved"}, {"pipeline.virtual_stages", "2"}}},
    {"zb-h1", {{2, 1, 1, 1}}, {{"pipeline.schedule", "zb-h1"}}},
    {"zb-v", {{2, 1, 1, 1}}, {{"pipeline.schedule", "zb-v"}}},
    {"three stages", {{3, 1, 1, 1}}, {}},
    {"selective recompute", {}, {{"parallel.recompute", "selective"}}},
    {"full recompute", {}, {{"parallel.recompute", "full"}}},
    {"accumulation", {}, {{"train.micro_batch", "1"}}},
    {"tied embeddings", {}, {{"model.tie_word_embeddings", "true"}}},
    {"ep", {{1, 2, 1, 1}}, {{"mesh.ep", "2"}}, true},
    {"shared experts", {}, {{"model.num_shared_experts", "2"}}, true},
    {"expert capacity", {}, {{"model.expert_capacity_factor", "0.7"}}, true},
    {"dropout", {}, {{"model.dropout", "0.1"}}},
    {"z loss", {}, {{"train.z_loss_coef", "0.05"}}},
    {"mesh-invariant sums", {}, {{"numerics.mesh_invariant_sum", "true"}}},
};

// What is trained: a column to the features' rows.
struct Recipe {
  const char* name;
  bool has_experts;
  std::vector<std::string> settings;
};

const Recipe kRecipes[] = {
    {"tiny_llama", false, {}},
    // Router losses that would show in every digit.
    {"tiny_mixtral",
     true,
     {"model.num_local_experts=4", "model.router_aux_loss_coef=0.5", "model.router_z_loss_coef=0.1"}},
};

struct Combination {
  std::vector<std::string> names;
  AxisSizes mesh;
  std::map<std::string, std::string> fields;
};

// What `features` are together; nothing if they exclude each other or need more ranks than there are.
std::optional<Combination> Combine(const std::vector<const Feature*>& features) {
  Combination all;
  for (const Feature* feature : features) {
    all.names.push_back(feature->name);
    for (Axis axis : kAllAxes) all.mesh[axis] = std::max(all.mesh[axis], feature->mesh[axis]);
    for (const auto& [field, value] : feature->fields) {
      if (all.fields.emplace(field, value).first->second != value) return std::nullopt;
    }
  }
  if (all.mesh.product() > kMostRanks) return std::nullopt;
  return all;
}

// Fields that say what is trained, not how: one rank must have them too.
bool IsOfTheModel(const std::string& field) {
  return field.rfind("model.", 0) == 0 || field == "train.z_loss_coef";
}

class CompositionTest : public testing::TestWithParam<Recipe> {
 protected:
  void SetUp() override {
    recipe_ = absl::StrCat(GetParam().name, ".textproto");
    base_.insert(base_.end(), GetParam().settings.begin(), GetParam().settings.end());
  }

  void ExpectTrainsAsOneRankDoes(const Combination& combination) {
    SCOPED_TRACE(absl::StrJoin(combination.names, " + "));
    std::vector<std::string> model = base_, many = base_;
    for (const auto& [field, value] : combination.fields) {
      many.push_back(absl::StrCat(field, "=", value));
      if (IsOfTheModel(field)) model.push_back(many.back());
    }
    for (Axis axis : kAllAxes) {
      if (axis != Axis::kCp || combination.mesh[axis] > 1) {
        many.push_back(absl::StrCat("mesh.", Name(axis), "=", combination.mesh[axis]));
      }
    }
    if (combination.fields.count("train.micro_batch") == 0) {
      many.push_back(absl::StrCat("train.micro_batch=", kGlobalBatch / combination.mesh[Axis::kDp] / 2));
    }
    const MeshRunResult& expected = OneRank(model);
    const MeshRunResult found = RunOnThreads(recipe_, many, kSteps);
    for (int i = 0; i < kSteps; ++i) {
      EXPECT_NEAR(found.losses[i], expected.losses[i], kTolerance * expected.losses[i]) << "step " << i;
      EXPECT_NEAR(found.z_losses[i], expected.z_losses[i], kTolerance * expected.z_losses[i]) << "step " << i;
      EXPECT_NEAR(found.norms[i], expected.norms[i], kTolerance * expected.norms[i]) << "step " << i;
    }
    EXPECT_EQ(found.dropped_choices, expected.dropped_choices);
    ExpectEqual(found.initial_parameters, expected.initial_parameters, 0, "initial");
    ExpectEqual(found.gradients, expected.gradients, GlobalNorm(expected.gradients), "gradient of");
    ExpectEqual(found.parameters, expected.parameters, 1e-3, "parameter");
  }

 private:
  static constexpr int kGlobalBatch = 8;
  std::string recipe_;
  std::vector<std::string> base_ = {"train.dtype=fp64", "model.num_hidden_layers=6",
                                    "train.sequence_length=8",
                                    absl::StrCat("train.global_batch=", kGlobalBatch)};

  const MeshRunResult& OneRank(const std::vector<std::string>& model) {
    const std::string key = absl::StrJoin(model, " ");
    if (const auto known = one_rank_.find(key); known != one_rank_.end()) return known->second;
    std::vector<std::string> one = model;
    one.push_back("mesh.dp=1");
    return one_rank_[key] = RunOnThreads(recipe_, one, kSteps);
  }

  static void ExpectEqual(const GlobalTensors& found, const GlobalTensors& expected, double scale,
                          const char* what) {
    ASSERT_EQ(found.size(), expected.size()) << what;
    for (const auto& [name, tensor] : expected) {
      ASSERT_EQ(found.count(name), 1u) << what << " " << name;
      EXPECT_LE(RelativeDistance(found.at(name), tensor, scale), kTolerance) << what << " " << name;
    }
  }

  std::map<std::string, MeshRunResult> one_rank_;
};

// The rows of kFeatures that a recipe can have.
std::vector<const Feature*> FeaturesOf(const Recipe& recipe) {
  std::vector<const Feature*> features;
  for (const Feature& feature : kFeatures) {
    if (recipe.has_experts || !feature.needs_experts) features.push_back(&feature);
  }
  return features;
}

INSTANTIATE_TEST_SUITE_P(Of, CompositionTest, testing::ValuesIn(kRecipes),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(CompositionTest, EveryPairOfFeatures) {
  int tried = 0, excluded = 0;
  const std::vector<const Feature*> features = FeaturesOf(GetParam());
  for (size_t a = 0; a < features.size(); ++a) {
    for (size_t b = a + 1; b < features.size(); ++b) {
      const std::optional<Combination> pair = Combine({features[a], features[b]});
      ++(pair.has_value() ? tried : excluded);
      if (pair.has_value()) ExpectTrainsAsOneRankDoes(*pair);
    }
  }
  std::printf("%d pairs; %d more name one field twice\n", tried, excluded);
  // The forms of ZeRO (6 pairs), tp, cp, schedule (10) and recompute exclude each other, and all-to-all
  // shared key heads; nothing else does.
  EXPECT_EQ(excluded, 20);
}

// Which ones: another seed every run; --gtest_random_seed=N repeats one. (UnitTest::random_seed() is 0 unless
// tests are shuffled.)
TEST_P(CompositionTest, ASampleOfAllTriples) {
  const int asked = GTEST_FLAG_GET(random_seed);
  const int seed = asked != 0 ? asked : 1 + static_cast<int>(std::random_device()() % 99999);
  std::vector<Combination> triples;
  const std::vector<const Feature*> features = FeaturesOf(GetParam());
  for (size_t a = 0; a < features.size(); ++a) {
    for (size_t b = a + 1; b < features.size(); ++b) {
      for (size_t c = b + 1; c < features.size(); ++c) {
        std::optional<Combination> triple = Combine({features[a], features[b], features[c]});
        if (triple.has_value()) triples.push_back(*std::move(triple));
      }
    }
  }
  std::printf("%d of %zu triples, seed %d\n", kNumTriples, triples.size(), seed);
  std::shuffle(triples.begin(), triples.end(), std::mt19937(static_cast<unsigned>(seed)));
  ASSERT_GE(triples.size(), kNumTriples);
  for (int i = 0; i < kNumTriples; ++i) ExpectTrainsAsOneRankDoes(triples[i]);
}

}  // namespace
}  // namespace trireme
