// Every mesh trains the same model: loss, every gradient and every parameter equal one rank's, in double.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/mesh_run.h"

namespace trireme {
namespace {

// Different meshes add in different orders: in double that is 1e-16 a sum. A forgotten or doubled reduction
// is off by a factor.
constexpr double kTolerance = 1e-10;

constexpr int kSteps = 3;

using Overrides = std::vector<std::string>;

Overrides operator+(Overrides a, const Overrides& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

void ExpectEqual(const GlobalTensors& found, const GlobalTensors& expected, double scale,
                 const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (const auto& [name, tensor] : expected) {
    const auto other = found.find(name);
    ASSERT_NE(other, found.end()) << what << " " << name;
    EXPECT_LE(RelativeDistance(other->second, tensor, scale), kTolerance) << what << " " << name;
  }
}

// A model and its training on one rank, all in one micro-batch, with everything kept: what every mesh must
// reproduce.
class Reference {
 public:
  Reference(std::string recipe, Overrides settings)
      : recipe_(std::move(recipe)),
        settings_(std::move(settings) + Overrides{"train.dtype=fp64"}),
        one_(RunOnThreads(recipe_, settings_ + Overrides{"mesh.dp=1"}, kSteps)) {}

  void ExpectEquals(const Overrides& mesh) const {
    SCOPED_TRACE(recipe_ + " " + absl::StrJoin(settings_ + mesh, " "));
    const MeshRunResult many = RunOnThreads(recipe_, settings_ + mesh, kSteps);
    ExpectEqual(many.initial_parameters, one_.initial_parameters, 0, "initial");
    for (int i = 0; i < kSteps; ++i) {
      EXPECT_NEAR(many.losses[i], one_.losses[i], kTolerance * one_.losses[i]) << "step " << i;
      EXPECT_NEAR(many.norms[i], one_.norms[i], kTolerance * one_.norms[i]) << "step " << i;
    }
    EXPECT_NEAR(many.evaluation, one_.evaluation, kTolerance * one_.evaluation);
    ExpectEqual(many.gradients, one_.gradients, GlobalNorm(one_.gradients), "gradient of");
    // GPT-2's key bias has no gradient in exact arithmetic: it moves by rounding noise, far below one update.
    ExpectEqual(many.parameters, one_.parameters, 1e-3, "parameter");
    EXPECT_EQ(many.allocations_in_steps, 0);
  }

  const MeshRunResult& one() const { return one_; }

 private:
  const std::string recipe_;
  const Overrides settings_;
  const MeshRunResult one_;
};

const Overrides kSmall = {"model.num_hidden_layers=8", "train.sequence_length=12", "train.global_batch=16",
                          "train.micro_batch=16"};
const Overrides kLlama8 = kSmall + Overrides{"model.num_key_value_heads=8"};
const Overrides kGpt8 = kSmall + Overrides{"model.num_attention_heads=8"};

// How a mesh is used: every mesh meets each of these, the recompute forms in turn.
struct Use {
  const char* schedule;
  int zero_stage;
  bool accumulates;
};
constexpr Use kUses[] = {{"1f1b", 3, true}, {"gpipe", 2, true}, {"1f1b", 0, false}, {"gpipe", 1, false}};
constexpr const char* kRecompute[] = {"none", "selective", "full"};

// All (dp, tp, pp) of sizes 1, 2, 4, 8 with a product of at most 8.
void ExpectAllMeshesEqual(const Reference& reference) {
  int turn = 0;
  for (int dp = 1; dp <= 8; dp *= 2) {
    for (int tp = 1; dp * tp <= 8; tp *= 2) {
      for (int pp = 1; dp * tp * pp <= 8; pp *= 2) {
        for (const Use& use : kUses) {
          reference.ExpectEquals({absl::StrCat("mesh.dp=", dp), absl::StrCat("mesh.tp=", tp),
                                  absl::StrCat("mesh.pp=", pp),
                                  absl::StrCat("pipeline.schedule=", use.schedule),
                                  absl::StrCat("parallel.zero_stage=", use.zero_stage),
                                  absl::StrCat("train.micro_batch=", use.accumulates ? 1 : 16 / dp),
                                  absl::StrCat("parallel.recompute=", kRecompute[turn++ % 3])});
        }
      }
    }
  }
}

TEST(MeshEqualityTest, OneRankLearns) {
  const MeshRunResult run = RunOnThreads("tiny_llama.textproto", {"mesh.dp=1", "train.dtype=fp64"}, 10);
  EXPECT_LT(run.losses.back(), run.losses.front() - 0.05);
}

TEST(MeshEqualityTest, EvaluationGivesTheLossThatTrainingSees) {
  const Reference reference("tiny_llama.textproto", kLlama8);
  EXPECT_NEAR(reference.one().evaluation, reference.one().losses[0], kTolerance * reference.one().losses[0]);
}

TEST(MeshEqualityTest, AllMeshesTrainLlamaAlike) {
  ExpectAllMeshesEqual(Reference("tiny_llama.textproto", kLlama8));
}
TEST(MeshEqualityTest, AllMeshesTrainGpt2Alike) {
  ExpectAllMeshesEqual(Reference("tiny_gpt2.textproto", kGpt8));
}

TEST(MeshEqualityTest, TensorRanksShareKeyHeads) {
  for (const char* heads : {"1", "2"}) {
    const Reference reference("tiny_llama.textproto",
                              kSmall + Overrides{absl::StrCat("model.num_key_value_heads=", heads)});
    for (const char* tp : {"2", "4", "8"}) {
      reference.ExpectEquals({absl::StrCat("mesh.tp=", tp), "train.micro_batch=4"});
    }
    reference.ExpectEquals({"mesh.dp=2", "mesh.tp=4", "train.micro_batch=2", "parallel.zero_stage=3",
                            "parallel.sequence_parallel=true"});
  }
}

TEST(MeshEqualityTest, DropoutDrawsTheSameMaskOnEveryMesh) {
  const Overrides dropout = {"model.dropout=0.2"};
  const Reference reference("tiny_gpt2.textproto", kGpt8 + dropout);
  const Reference without("tiny_gpt2.textproto", kGpt8);
  EXPECT_NE(reference.one().losses[0], without.one().losses[0]);
  for (const char* recompute : kRecompute) {
    reference.ExpectEquals({"mesh.dp=2", "mesh.tp=2", "mesh.pp=2", "train.micro_batch=2",
                            absl::StrCat("parallel.recompute=", recompute)});
  }
}

TEST(MeshEqualityTest, TiedLlamaAcrossStages) {
  const Reference reference("tiny_llama.textproto", kLlama8 + Overrides{"model.tie_word_embeddings=true"});
  reference.ExpectEquals({"mesh.pp=4", "mesh.dp=2", "train.micro_batch=2"});
  reference.ExpectEquals({"mesh.pp=2", "mesh.tp=2", "mesh.dp=1", "train.micro_batch=4"});
}

// Several chunks a stage: on one rank, that ends the model where it begins; on rings of two to four stages,
// with micro-batches that fill no group.
TEST(MeshEqualityTest, StagesOfSeveralChunksShareTheModel) {
  const Reference reference("tiny_gpt2.textproto", kGpt8 + Overrides{"model.dropout=0.1"});
  const Overrides interleaved = {"pipeline.schedule=interleaved"};
  for (const char* recompute : kRecompute) {
    const Overrides use = interleaved + Overrides{absl::StrCat("parallel.recompute=", recompute)};
    reference.ExpectEquals(
        use + Overrides{"mesh.pp=1", "mesh.dp=1", "pipeline.virtual_stages=2", "train.micro_batch=4"});
    reference.ExpectEquals(use + Overrides{"mesh.pp=1", "mesh.dp=2", "pipeline.virtual_stages=8",
                                           "train.micro_batch=2", "parallel.zero_stage=1"});
    reference.ExpectEquals(use + Overrides{"mesh.pp=2", "mesh.tp=2", "mesh.dp=2", "pipeline.virtual_stages=3",
                                           "train.micro_batch=1"});
    reference.ExpectEquals(use + Overrides{"mesh.pp=4", "mesh.dp=2", "pipeline.virtual_stages=2",
                                           "train.micro_batch=1", "parallel.zero_stage=0"});
    reference.ExpectEquals(
        use + Overrides{"mesh.pp=3", "mesh.dp=1", "pipeline.virtual_stages=2", "train.micro_batch=1"});
  }
}

// A backward in two parts, on one stage to four; a V holds both homes of the tied embedding on one stage.
TEST(MeshEqualityTest, ZeroBubblePipelinesDeferTheWeights) {
  const Reference reference("tiny_gpt2.textproto", kGpt8 + Overrides{"model.dropout=0.1"});
  for (const char* schedule : {"pipeline.schedule=zb-h1", "pipeline.schedule=zb-v"}) {
    for (const char* recompute : kRecompute) {
      const Overrides use = {schedule, absl::StrCat("parallel.recompute=", recompute)};
      for (const char* pp : {"mesh.pp=1", "mesh.pp=3", "mesh.pp=4"}) {
        reference.ExpectEquals(use + Overrides{pp, "mesh.dp=1", "train.micro_batch=1"});
        reference.ExpectEquals(use +
                               Overrides{pp, "mesh.dp=2", "train.micro_batch=2", "parallel.zero_stage=1"});
      }
      // A weight's gradient leaves after each micro-batch, its bias's is added to.
      reference.ExpectEquals(
          use + Overrides{"mesh.pp=2", "mesh.dp=2", "train.micro_batch=1", "parallel.zero_stage=3"});
      reference.ExpectEquals(use + Overrides{"mesh.pp=2", "mesh.tp=2", "mesh.dp=2", "train.micro_batch=2",
                                             "parallel.sequence_parallel=true", "parallel.zero_stage=0"});
    }
  }
}

// The residual stream's tokens sharded over tp: norms, dropout, embeddings, stage borders and the head on a
// share of them, with every use that a mesh has.
TEST(MeshEqualityTest, SequenceParallelRanksShareTheStream) {
  const Overrides sequence_parallel = {"parallel.sequence_parallel=true"};
  const Overrides meshes[] = {
      {"mesh.tp=2", "mesh.dp=1"},
      {"mesh.tp=4", "mesh.dp=2", "train.micro_batch=2", "parallel.zero_stage=0"},
      {"mesh.tp=2", "mesh.dp=2", "mesh.pp=2", "train.micro_batch=2", "pipeline.schedule=gpipe"},
      {"mesh.tp=2", "mesh.pp=4", "mesh.dp=1", "train.micro_batch=1"},
      {"mesh.tp=8", "mesh.dp=1", "train.micro_batch=4"},
  };
  const Reference references[] = {
      Reference("tiny_llama.textproto", kLlama8),
      Reference("tiny_llama.textproto", kLlama8 + Overrides{"model.tie_word_embeddings=true"}),
      Reference("tiny_gpt2.textproto", kGpt8 + Overrides{"model.dropout=0.2"}),
  };
  int turn = 0;
  for (const Reference& reference : references) {
    for (const Overrides& mesh : meshes) {
      reference.ExpectEquals(mesh + sequence_parallel +
                             Overrides{absl::StrCat("parallel.recompute=", kRecompute[turn++ % 3])});
    }
  }
}
TEST(MeshEqualityTest, SequenceParallelRanksCutSequencesAnywhere) {
  // 10 tokens over 4 ranks: no share ends where a sequence does.
  const Overrides odd = {"train.sequence_length=5"};
  Reference("tiny_gpt2.textproto", kGpt8 + odd)
      .ExpectEquals({"mesh.tp=4", "mesh.dp=1", "train.micro_batch=4", "parallel.sequence_parallel=true"});
}

// cp cuts micro-batches of one sequence, of several, and across them; experts lie over cp alone too.
TEST(MeshEqualityTest, ContextParallelRanksShareASequence) {
  const Overrides forms[] = {{"parallel.context_form=all_to_all"}, {"parallel.context_form=ring"}};
  const Overrides meshes[] = {
      {"mesh.cp=4", "mesh.dp=1", "train.micro_batch=2"},
      {"mesh.cp=8", "mesh.dp=1", "train.micro_batch=8"},
      {"mesh.cp=2", "mesh.dp=2", "mesh.pp=2", "train.micro_batch=1", "pipeline.schedule=zb-h1"},
      {"mesh.cp=2", "mesh.tp=4", "mesh.dp=1", "train.micro_batch=4", "parallel.zero_stage=3"},
      {"mesh.cp=4", "mesh.tp=2", "mesh.dp=1", "train.micro_batch=2", "parallel.sequence_parallel=true"},
  };
  const Reference references[] = {
      Reference("tiny_llama.textproto", kLlama8),
      Reference("tiny_gpt2.textproto", kGpt8 + Overrides{"model.dropout=0.2"}),
  };
  int turn = 0;
  for (const Reference& reference : references) {
    for (const Overrides& mesh : meshes) {
      for (const Overrides& form : forms) {
        reference.ExpectEquals(mesh + form +
                               Overrides{absl::StrCat("parallel.recompute=", kRecompute[turn++ % 3])});
      }
    }
  }
  // Two sequences of 9 over 3 ranks, in 3 or 6 chunks.
  const Reference odd("tiny_gpt2.textproto", kSmall + Overrides{"train.sequence_length=9"});
  const Reference mixtral("tiny_mixtral.textproto",
                          kSmall + Overrides{"model.num_local_experts=4", "model.router_aux_loss_coef=0.5"});
  for (const Overrides& form : forms) {
    odd.ExpectEquals(Overrides{"mesh.cp=3", "mesh.dp=1", "train.micro_batch=2"} + form);
    mixtral.ExpectEquals(Overrides{"mesh.cp=4", "mesh.ep=4", "mesh.dp=1", "train.micro_batch=2"} + form);
  }
  // More ranks than there are key heads.
  Reference("tiny_llama.textproto", kSmall + Overrides{"model.num_key_value_heads=1"})
      .ExpectEquals({"mesh.cp=8", "mesh.dp=1", "train.micro_batch=4"});
}

// Slopes are dealt out as the heads are, over tp and cp, and in a ring keys bring their places with them.
TEST(MeshEqualityTest, EveryHeadOfBloomKeepsItsSlope) {
  const Overrides forms[] = {{"parallel.context_form=all_to_all"}, {"parallel.context_form=ring"}};
  const Overrides blocks = {"model.num_hidden_layers=4"};
  const Reference reference("tiny_bloom.textproto", kGpt8 + blocks + Overrides{"model.dropout=0.2"});
  reference.ExpectEquals({"mesh.tp=4", "mesh.dp=2", "train.micro_batch=2", "parallel.zero_stage=3"});
  reference.ExpectEquals({"mesh.pp=2", "mesh.dp=2", "train.micro_batch=1", "pipeline.schedule=zb-v"});
  for (const Overrides& form : forms) {
    reference.ExpectEquals(
        Overrides{"mesh.cp=4", "mesh.tp=2", "mesh.dp=1", "train.micro_batch=2", "parallel.recompute=full"} +
        form);
    reference.ExpectEquals(Overrides{"mesh.cp=2", "mesh.tp=2", "mesh.pp=2", "mesh.dp=1",
                                     "train.micro_batch=1", "parallel.sequence_parallel=true"} +
                           form);
  }
  // Six heads, whose last two slopes are between those of the others.
  const Reference six("tiny_bloom.textproto",
                      kSmall + Overrides{"model.num_hidden_layers=2", "model.tie_word_embeddings=false"});
  six.ExpectEquals({"mesh.tp=3", "mesh.dp=2", "train.micro_batch=4", "parallel.zero_stage=2"});
  for (const Overrides& form : forms) {
    six.ExpectEquals(Overrides{"mesh.cp=3", "mesh.tp=2", "mesh.dp=1", "train.micro_batch=4"} + form);
  }
}

// Sizes that three does not divide: blocks over stages, the vocabulary over tp, buckets over ZeRO shards.
TEST(MeshEqualityTest, ThreeStagesShareEightBlocks) {
  Reference("tiny_llama.textproto", kLlama8).ExpectEquals({"mesh.pp=3", "mesh.dp=1", "train.micro_batch=2"});
}
TEST(MeshEqualityTest, AHeavyHeadTakesBlocksOffTheLastStage) {
  const Reference reference("tiny_llama.textproto", kLlama8 + Overrides{"model.vocab_size=3000"});
  for (const char* schedule : {"pipeline.schedule=1f1b", "pipeline.schedule=zb-v"}) {
    reference.ExpectEquals({"mesh.pp=3", "mesh.dp=1", "train.micro_batch=4", schedule});
  }
}
TEST(MeshEqualityTest, ThreeTensorRanksShareAVocabularyOf257) {
  Reference("tiny_gpt2.textproto", kSmall + Overrides{"model.num_attention_heads=6"})
      .ExpectEquals({"mesh.tp=3", "mesh.dp=1", "train.micro_batch=4"});
}
TEST(MeshEqualityTest, ThreeReplicasShardBucketsOfAnySize) {
  const Overrides batch = {"train.global_batch=12", "train.micro_batch=12"};
  const Reference reference("tiny_gpt2.textproto",
                            kSmall + batch + Overrides{"model.hidden_size=42", "model.intermediate_size=85"});
  for (int stage : {0, 1, 2, 3}) {
    reference.ExpectEquals({"mesh.dp=3", "train.micro_batch=2", absl::StrCat("parallel.zero_stage=", stage)});
  }
}

// Chunks of one rank take turns on a gradient that they share: it stays whole until the last.
TEST(MeshEqualityTest, ChunksThatShareAnEmbeddingShardTheRest) {
  const Reference reference("tiny_llama.textproto", kLlama8 + Overrides{"model.tie_word_embeddings=true"});
  for (int stage : {1, 2, 3}) {
    reference.ExpectEquals({"mesh.pp=1", "mesh.dp=2", "train.micro_batch=2", "pipeline.schedule=interleaved",
                            "pipeline.virtual_stages=2", absl::StrCat("parallel.zero_stage=", stage)});
  }
}

}  // namespace
}  // namespace trireme
