// A checkpoint holds the same parameters, by the same names, whatever mesh has trained them, and the same
// text is made of them.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "checkpoint/memory_storage.h"
#include "checkpoint/reader.h"
#include "checkpoint/writer.h"
#include "launch/checkpoint_state.h"
#include "launch/generator.h"
#include "runtime/cpu/cpu_device.h"
#include "tests/mesh_run.h"

namespace trireme {
namespace {

using Overrides = std::vector<std::string>;

// As in mesh_equality_test.
constexpr double kTolerance = 1e-10;
constexpr int kSteps = 3;

struct Saved {
  std::map<std::string, Shape> shapes;
  GlobalTensors tensors;
  std::vector<int32_t> text;
};

// What the model writes behind two tokens, drawn as it says.
std::vector<int32_t> Continue(const Config& config, TensorReader& reader) {
  CpuDevice device(1);
  Generator generator(config, device);
  const absl::Status loaded = reader.Load(generator.ParameterSlices());
  EXPECT_TRUE(loaded.ok()) << loaded;
  std::vector<int32_t> text = {7, 14};
  while (text.size() < 20) {
    const absl::StatusOr<int32_t> next =
        ChooseToken(generator.Logits(text), {.temperature = 1}, static_cast<int64_t>(text.size()));
    EXPECT_TRUE(next.ok()) << next.status();
    text.push_back(next.value_or(0));
  }
  return text;
}

// `settings` of the model, trained on `mesh` and saved by all its ranks.
Saved TrainAndSave(const std::string& recipe, const Overrides& settings, const Overrides& mesh) {
  Overrides overrides = {"train.dtype=fp64",     "model.num_hidden_layers=2", "train.sequence_length=12",
                         "train.global_batch=4", "train.micro_batch=1",       "optimizer.learning_rate=0.02"};
  overrides.insert(overrides.end(), settings.begin(), settings.end());
  overrides.insert(overrides.end(), mesh.begin(), mesh.end());
  MemoryStorage storage;
  SaveRequest request;
  request.run_directory = "run";
  request.state.step = kSteps;
  RunOnThreads(recipe, overrides, kSteps, {}, MakeCpuDevice,
               {.at_end = [&](Trainer& trainer, Communicator& world) {
                 const auto report = Save(request, SlicesToSave(trainer.store()), world, storage);
                 EXPECT_TRUE(report.ok()) << report.status();
               }});
  Saved saved;
  const auto reader = CheckpointReader::Open("run", storage);
  EXPECT_TRUE(reader.ok()) << reader.status();
  if (!reader.ok()) return saved;
  TensorReader& tensors = (*reader)->tensors();
  for (const TensorInfo& tensor : tensors.tensors()) {
    if (absl::StartsWith(tensor.name, "optimizer.")) continue;
    EXPECT_EQ(tensor.dtype, DType::kF64) << tensor.name;
    std::vector<double>& values = saved.tensors[tensor.name];
    values.resize(tensor.shape.num_elements());
    TensorSlice slice = {.name = tensor.name, .dtype = DType::kF64, .global_shape = tensor.shape};
    slice.box.num_dims = tensor.shape.num_dims();
    for (int dim = 0; dim < slice.box.num_dims; ++dim) slice.box.end[dim] = tensor.shape[dim];
    slice.data = values.data();
    const absl::Status loaded = tensors.Load({slice});
    EXPECT_TRUE(loaded.ok()) << loaded;
    saved.shapes.emplace(tensor.name, tensor.shape);
  }
  saved.text = Continue(TestConfig(recipe, overrides), tensors);
  return saved;
}

void ExpectSavesWhatOneRankSaves(const std::string& recipe, const Overrides& settings, const Overrides& mesh,
                                 const std::map<std::string, Shape>& some) {
  const Saved one = TrainAndSave(recipe, settings, {"mesh.dp=1"});
  const Saved many = TrainAndSave(recipe, settings, mesh);
  for (const auto& [name, shape] : some) {
    ASSERT_EQ(one.shapes.count(name), 1u) << name;
    EXPECT_EQ(one.shapes.at(name), shape) << name;
  }
  EXPECT_GT(one.shapes.size(), 15u);
  EXPECT_EQ(many.shapes, one.shapes);
  for (const auto& [name, tensor] : one.tensors) {
    ASSERT_EQ(many.tensors.count(name), 1u) << name;
    EXPECT_LE(RelativeDistance(many.tensors.at(name), tensor, 1e-3), kTolerance) << name;
  }
  EXPECT_EQ(many.text, one.text);
}

TEST(CheckpointMeshTest, ExpertsDealtOutAreSavedAsOneRankSavesThem) {
  const std::string moe = "model.layers.1.block_sparse_moe";
  ExpectSavesWhatOneRankSaves(
      "tiny_mixtral.textproto",
      {"model.num_local_experts=4", "model.num_shared_experts=2", "model.expert_capacity_factor=0.8"},
      {"mesh.dp=2", "mesh.ep=2", "mesh.tp=2"},
      {{moe + ".gate.weight", {4, 48}},
       {moe + ".experts.0.w1.weight", {120, 48}},
       {moe + ".experts.3.w2.weight", {48, 120}},
       {moe + ".experts.3.w3.weight", {120, 48}},
       {moe + ".shared_experts.gate_proj.weight", {240, 48}},
       {moe + ".shared_experts.up_proj.weight", {240, 48}},
       {moe + ".shared_experts.down_proj.weight", {48, 240}}});
}

TEST(CheckpointMeshTest, SharedKeyHeadsAreSavedAsOneRankSavesThem) {
  ExpectSavesWhatOneRankSaves("tiny_llama.textproto", {"model.num_key_value_heads=2"},
                              {"mesh.tp=4", "mesh.dp=2", "parallel.sequence_parallel=true"},
                              {{"model.layers.0.self_attn.q_proj.weight", {48, 48}},
                               {"model.layers.0.self_attn.k_proj.weight", {12, 48}},
                               {"model.layers.1.self_attn.v_proj.weight", {12, 48}}});
}

// Each rank of tp has two of the six heads; the shards of dp end within heads.
TEST(CheckpointMeshTest, HeadsThatTakeTurnsOnDiskAreSavedAsOneRankSavesThem) {
  const std::string attention = "transformer.h.1.self_attention";
  const std::map<std::string, Shape> shapes = {{attention + ".query_key_value.weight", {144, 48}},
                                               {attention + ".query_key_value.bias", {144}},
                                               {attention + ".dense.weight", {48, 48}}};
  ExpectSavesWhatOneRankSaves("tiny_bloom.textproto", {}, {"mesh.tp=3", "mesh.dp=2"}, shapes);
  ExpectSavesWhatOneRankSaves("tiny_bloom.textproto", {}, {"mesh.dp=4", "parallel.zero_stage=3"}, shapes);
}

}  // namespace
}  // namespace trireme
