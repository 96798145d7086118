// Training with segments replayed as graphs has the bits of training without, on every kind of mesh.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tests/graph_device.h"
#include "tests/mesh_run.h"

namespace trireme {
namespace {

constexpr int kSteps = 4;

struct Counts {
  std::atomic<int64_t> graphs = 0;
  std::atomic<int64_t> replays = 0;
  std::atomic<int64_t> launches = 0;
};

// Counts when it closes.
template <typename Base>
class Counted : public Base {
 public:
  explicit Counted(Counts& counts) : Base(1), counts_(counts) {}
  ~Counted() override {
    counts_.graphs += Base::num_graphs();
    counts_.replays += Base::num_replays();
    counts_.launches += Base::num_launches();
  }

 private:
  Counts& counts_;
};

template <typename Base = GraphDevice>
MeshRunResult Train(std::vector<std::string> overrides, bool with_graphs, Counts& counts) {
  overrides.push_back(with_graphs ? "train.cuda_graphs=true" : "train.cuda_graphs=false");
  return RunOnThreads("tiny_llama.textproto", overrides, kSteps, {},
                      [&counts] { return std::make_unique<Counted<Base>>(counts); });
}

bool SameBits(const MeshRunResult& a, const MeshRunResult& b) {
  return a.losses == b.losses && a.norms == b.norms && a.evaluation == b.evaluation &&
         a.gradients == b.gradients && a.parameters == b.parameters;
}

std::vector<std::string> Small(std::vector<std::string> more) {
  for (const char* setting :
       {"train.sequence_length=16", "train.global_batch=8", "train.micro_batch=1", "model.dropout=0.1"}) {
    more.emplace_back(setting);
  }
  return more;
}

struct GraphCase {
  const char* name;
  std::vector<std::string> settings;
};

class GraphTest : public testing::TestWithParam<GraphCase> {};

TEST_P(GraphTest, ReplayedSegmentsGiveTheSameBits) {
  const std::vector<std::string> settings = Small(GetParam().settings);
  Counts with, without;
  const MeshRunResult replayed = Train(settings, true, with);
  const MeshRunResult eager = Train(settings, false, without);
  EXPECT_TRUE(SameBits(replayed, eager));
  EXPECT_EQ(replayed.allocations_in_steps, 0);
  EXPECT_EQ(without.graphs, 0);
  EXPECT_GE(with.launches, with.graphs) << "what was captured had not run before";
  // Every run but a key's first is a replay, and each key of more than one run has one graph.
  EXPECT_GT(with.replays, with.graphs);
  EXPECT_LT(with.launches, without.launches / 2);
}

INSTANTIATE_TEST_SUITE_P(
    Every, GraphTest,
    testing::Values(GraphCase{"one_rank_full_recompute", {"parallel.recompute=full"}},
                    GraphCase{"dp_zero1_bf16", {"mesh.dp=2", "train.dtype=bf16"}},
                    GraphCase{"dp_zero2", {"mesh.dp=2", "parallel.zero_stage=2"}},
                    GraphCase{"dp_tp_zero3",
                              {"mesh.dp=2", "mesh.tp=2", "parallel.zero_stage=3",
                               "parallel.sequence_parallel=true", "parallel.recompute=selective"}},
                    GraphCase{"pp_interleaved",
                              {"mesh.pp=2", "pipeline.schedule=interleaved", "pipeline.virtual_stages=2"}},
                    GraphCase{"pp_split_backward", {"mesh.pp=2", "mesh.dp=2", "pipeline.schedule=zb-h1"}},
                    GraphCase{"cp_ring", {"mesh.cp=2"}}),
    [](const auto& info) { return std::string(info.param.name); });

// Gives AdamW a number by value that is another in each step, as a learning rate would be.
class FaultyDevice : public GraphDevice {
 public:
  using GraphDevice::GraphDevice;
  void Launch(Kernel kernel, const KernelArguments& arguments, StreamId stream) override {
    if (arguments.op.kind != OpKind::kAdamW) return GraphDevice::Launch(kernel, arguments, stream);
    OwnedArguments owned(arguments);
    owned.op.attributes = {
        {"beta1", 0.9}, {"beta2", 0.95}, {"epsilon", 1e-5}, {"weight_decay", 0.1 * ++calls_}};
    GraphDevice::Launch(kernel, owned.get(), stream);
  }

 private:
  int calls_ = 0;
};

TEST(GraphFaultTest, AnArgumentThatChangesByValueIsSeen) {
  Counts counts;
  const std::vector<std::string> settings = Small({});
  EXPECT_TRUE(
      SameBits(Train<FaultyDevice>(settings, false, counts), Train<FaultyDevice>(settings, false, counts)));
  EXPECT_FALSE(
      SameBits(Train<FaultyDevice>(settings, true, counts), Train<FaultyDevice>(settings, false, counts)));
}

}  // namespace
}  // namespace trireme
