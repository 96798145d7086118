#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/describe.h"
#include "checkpoint/memory_storage.h"
#include "checkpoint/reader.h"
#include "checkpoint/run_directory.h"
#include "checkpoint/test_model.h"
#include "checkpoint/writer.h"
#include "parallel/self_communicator.h"
#include "parallel/thread_communicator.h"

namespace trireme {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void SaveOnRanks(int num_ranks, const SaveRequest& request, Storage& storage) {
  RunThreadRanks(num_ranks, [&](Communicator& world) {
    const RankTensors mine = UnevenRanges(world.rank(), num_ranks, request.state.step);
    const auto report = Save(request, mine.slices, world, storage);
    EXPECT_TRUE(report.ok()) << report.status();
  });
}

void ExpectLoads(const RankTensors& wanted, int64_t step, Storage& storage) {
  auto reader = CheckpointReader::Open("run", storage);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const absl::Status loaded = (*reader)->tensors().Load(wanted.slices);
  ASSERT_TRUE(loaded.ok()) << loaded;
  for (const TensorSlice& slice : wanted.slices) {
    EXPECT_EQ(NumWrongElements(slice, step), 0) << slice.name << " " << slice.box.ToString();
  }
}

TEST(SaveLoadTest, AnyNumberOfRanksLoadsWhatAnyOtherSaved) {
  for (const int writers : {1, 4}) {
    MemoryStorage storage;
    SaveOnRanks(writers, ModelRequest(7), storage);
    for (const int readers : {1, 2, 3}) {
      for (int rank = 0; rank < readers; ++rank) {
        ExpectLoads(ColumnParts(rank, readers), 7, storage);
        RankTensors ranges = UnevenRanges(rank, readers, /*step=*/1);
        ExpectLoads(ranges, 7, storage);
      }
    }
    auto reader = CheckpointReader::Open("run", storage);
    ASSERT_TRUE(reader.ok()) << reader.status();
    EXPECT_TRUE((*reader)->tensors().VerifyAll().ok()) << (*reader)->tensors().VerifyAll();
  }
}

TEST(SaveLoadTest, ResavingOnAnotherMeshKeepsEveryDigest) {
  MemoryStorage storage;
  std::vector<uint64_t> digests;
  for (const int writers : {1, 2, 4}) {
    SaveOnRanks(writers, ModelRequest(7), storage);
    auto reader = CheckpointReader::Open("run", storage);
    ASSERT_TRUE(reader.ok()) << reader.status();
    std::vector<uint64_t> now;
    for (const TensorSlice& tensor : ModelTensors()) {
      now.push_back(*(*reader)->tensors().Find(tensor.name)->content_digest);
    }
    if (digests.empty()) digests = now;
    EXPECT_EQ(now, digests) << writers << " writers";
  }
}

TEST(SaveLoadTest, StateComesBackAsItWas) {
  MemoryStorage storage;
  SaveOnRanks(2, ModelRequest(9), storage);
  auto reader = CheckpointReader::Open("run", storage);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const CheckpointState& state = (*reader)->state();
  EXPECT_EQ(state.run_id, "test");
  EXPECT_EQ(state.step, 9);
  EXPECT_EQ(state.tokens_seen, 9000);
  EXPECT_EQ(state.config, "model {}");
  EXPECT_EQ(state.dataset_digest, "da");
  ASSERT_EQ(state.positions.size(), 1u);
  EXPECT_EQ(state.positions[0].source, "corpus");
  EXPECT_EQ(state.positions[0].samples, 72);
  EXPECT_EQ(state.applied_updates, 8);
  EXPECT_EQ(state.skipped_steps, 1);
  EXPECT_EQ(state.seed, 42u);
  EXPECT_EQ(state.loss_window, (std::vector<double>{3.5, 0.1}));
}

TEST(SaveLoadTest, OneRankWritesWholeTensorsUnderTheirPlainNames) {
  MemoryStorage storage;
  SelfCommunicator world;
  RankTensors mine;
  for (const TensorSlice& tensor : ModelTensors()) {
    std::vector<TensorSlice> halves;  // a tensor in two pieces is one tensor on disk
    AppendRange(tensor, 0, tensor.box.volume() / 2, nullptr, &halves);
    AppendRange(tensor, tensor.box.volume() / 2, tensor.box.volume(), nullptr, &halves);
    for (const TensorSlice& half : halves) FillWithModel(*mine.Add(half), 5);
  }
  const auto report = Save(ModelRequest(5), mine.slices, world, storage);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->num_files, 2);
  EXPECT_THAT(storage.Files(), ElementsAre("run/checkpoints/LATEST", report->directory + "/COMMIT",
                                           report->directory + "/MANIFEST",
                                           report->directory + "/w00000.optimizer.safetensors",
                                           report->directory + "/w00000.safetensors"));
  const std::string file = storage.Contents(report->directory + "/w00000.safetensors");
  EXPECT_THAT(file, HasSubstr(R"("transformer.h.0.attn.c_attn.weight":{"dtype":"F32","shape":[12,36],)"));
  EXPECT_THAT(file, HasSubstr(R"("scale":{"dtype":"F32","shape":[],)"));
  EXPECT_FALSE(absl::StrContains(file, "optimizer"));
}

TEST(SaveLoadTest, ARankWithoutSlicesWritesNoFile) {
  MemoryStorage storage;
  RunThreadRanks(3, [&](Communicator& world) {
    RankTensors mine;
    if (world.rank() == 1) mine = UnevenRanges(0, 1, 5);
    EXPECT_TRUE(Save(ModelRequest(5), mine.slices, world, storage).ok());
  });
  for (const std::string& file : storage.Files()) {
    EXPECT_FALSE(absl::StrContains(file, "/w00000.") || absl::StrContains(file, "/w00002.")) << file;
  }
  ExpectLoads(ColumnParts(0, 1), 5, storage);
}

TEST(SaveLoadTest, AnAliasLoadsItsTarget) {
  MemoryStorage storage;
  SaveOnRanks(2, ModelRequest(5), storage);
  auto reader = CheckpointReader::Open("run", storage);
  ASSERT_TRUE(reader.ok()) << reader.status();
  RankTensors head;
  RankTensors embedding;
  TensorSlice* slice = embedding.Add(ModelTensors()[0]);
  TensorSlice named = ModelTensors()[0];
  named.name = "lm_head.weight";
  ASSERT_TRUE((*reader)->tensors().Load({*head.Add(named), *slice}).ok());
  EXPECT_EQ(*head.memory[0], *embedding.memory[0]);
  EXPECT_EQ(NumWrongElements(*slice, 5), 0);
}

TEST(SaveLoadTest, WhatIsNotStoredIsRefusedByNameAndBox) {
  MemoryStorage storage;
  SaveOnRanks(2, ModelRequest(5), storage);
  auto reader = CheckpointReader::Open("run", storage);
  ASSERT_TRUE(reader.ok()) << reader.status();
  RankTensors wanted;
  TensorSlice slice = ModelTensors()[0];
  slice.global_shape = Shape({40, 12});
  EXPECT_THAT((*reader)->tensors().Load({*wanted.Add(slice)}).message(),
              HasSubstr("stored with shape [33, 12]"));
  slice = ModelTensors()[0];
  slice.box = Box({{30, 34}, {0, 12}});
  EXPECT_THAT((*reader)->tensors().Load({*wanted.Add(slice)}).message(),
              HasSubstr("tensor \"transformer.wte.weight\", box [30:34,0:12]: is not within [33, 12]"));
  slice = ModelTensors()[0];
  slice.dtype = DType::kI64;
  EXPECT_THAT((*reader)->tensors().Load({*wanted.Add(slice)}).message(),
              HasSubstr("tensor \"transformer.wte.weight\": stored as f32, wanted as i64"));
}

TEST(SaveLoadTest, FloatsLoadAsDoublesAndBack) {
  MemoryStorage storage;
  SaveOnRanks(2, ModelRequest(5), storage);
  auto reader = CheckpointReader::Open("run", storage);
  ASSERT_TRUE(reader.ok()) << reader.status();
  RankTensors wanted;
  for (TensorSlice tensor : ModelTensors()) {
    if (!IsFloat(tensor.dtype)) continue;
    tensor.dtype = tensor.dtype == DType::kF32 ? DType::kF64 : DType::kF32;
    wanted.Add(tensor);
  }
  ASSERT_TRUE((*reader)->tensors().Load(wanted.slices).ok());
  for (const TensorSlice& slice : wanted.slices) EXPECT_EQ(NumWrongElements(slice, 5), 0) << slice.name;
}

TEST(SaveLoadTest, TensorsOfManyBlocksLoadInPartFromTheMachinesFileSystem) {
  std::string root = testing::TempDir() + "trireme_save_XXXXXX";
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  const std::unique_ptr<Storage> storage = NewPosixStorage();
  SaveRequest request = ModelRequest(1);
  request.run_directory = root + "/run";
  request.aliases.clear();
  const Shape shape({1500, 700});  // 4 MiB; rows straddle blocks
  const TensorSlice whole = {"w", DType::kF32, shape, WholeBox(shape), nullptr, true};
  RunThreadRanks(3, [&](Communicator& world) {
    RankTensors mine;
    std::vector<TensorSlice> parts;
    const int64_t volume = shape.num_elements();
    AppendRange(whole, volume * world.rank() / 3, volume * (world.rank() + 1) / 3, nullptr, &parts);
    for (const TensorSlice& part : parts) FillWithModel(*mine.Add(part), 1);
    EXPECT_TRUE(Save(request, mine.slices, world, *storage).ok());
  });
  auto reader = CheckpointReader::Open(request.run_directory, *storage);
  ASSERT_TRUE(reader.ok()) << reader.status();
  for (const Box& box : {WholeBox(shape), Box({{1499, 1500}, {0, 700}}), Box({{0, 1500}, {333, 335}}),
                         Box({{200, 801}, {7, 690}})}) {
    for (const bool transposed : {false, true}) {
      RankTensors wanted;
      TensorSlice* slice = wanted.Add({"w", DType::kF32, shape, box, nullptr, transposed});
      ASSERT_TRUE((*reader)->tensors().Load(wanted.slices).ok());
      EXPECT_EQ(NumWrongElements(*slice, 1), 0) << box.ToString();
    }
  }
  EXPECT_TRUE((*reader)->tensors().VerifyAll().ok());
  // Goes by way of the retention, and then by hand.
  SelfCommunicator self;
  request.state.step = 2;
  request.keep = 1;
  const auto report = Save(request, {}, self, *storage);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->deleted.size(), 1u);
  for (const char* name : {"COMMIT", "MANIFEST"})
    EXPECT_TRUE(storage->Delete(absl::StrCat(report->directory, "/", name)).ok());
  EXPECT_TRUE(storage->DeleteDirectory(report->directory).ok());
  EXPECT_TRUE(storage->Delete(request.run_directory + "/checkpoints/LATEST").ok());
  for (const std::string& path : {request.run_directory + "/checkpoints", request.run_directory, root}) {
    EXPECT_TRUE(storage->DeleteDirectory(path).ok()) << path;
  }
}

TEST(SaveLoadTest, DescriptionNamesStateFilesAndTensors) {
  MemoryStorage storage;
  SaveOnRanks(2, ModelRequest(5), storage);
  const auto text = DescribeCheckpoint("run", /*verify=*/true, storage);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("step 5, 5000 tokens seen"));
  EXPECT_THAT(*text, HasSubstr("<- LATEST"));
  EXPECT_THAT(*text, HasSubstr("[12, 36]         transformer.h.0.attn.c_attn.weight"));
  EXPECT_THAT(*text, HasSubstr("lm_head.weight is transformer.wte.weight"));
  EXPECT_THAT(*text, HasSubstr("every byte was read and fits"));
  EXPECT_TRUE(absl::IsNotFound(DescribeCheckpoint("elsewhere", false, storage).status()));
}

TEST(SaveLoadTest, RanksThatDisagreeSaveNothing) {
  MemoryStorage storage;
  RunThreadRanks(3, [&](Communicator& world) {
    const RankTensors mine = UnevenRanges(world.rank(), 3, 5);
    SaveRequest request = ModelRequest(world.rank() == 2 ? 6 : 5);
    absl::Status status = Save(request, mine.slices, world, storage).status();
    EXPECT_TRUE(absl::IsAborted(status));
    EXPECT_THAT(status.message(), HasSubstr("rank 0 saves step 5, rank 2 saves step 6"));
    request = ModelRequest(5);
    if (world.rank() == 1) request.state.config_digest = "other";
    EXPECT_TRUE(absl::IsAborted(Save(request, mine.slices, world, storage).status()));
  });
  EXPECT_TRUE(storage.Files().empty());
}

TEST(SaveLoadTest, SlicesThatLeaveAHoleOrOverlapAreNotCommitted) {
  MemoryStorage storage;
  SaveOnRanks(2, ModelRequest(4), storage);
  for (const bool hole : {true, false}) {
    RunThreadRanks(2, [&](Communicator& world) {
      RankTensors mine = UnevenRanges(world.rank(), 2, 5);
      if (world.rank() == 1) {
        if (hole) {
          mine.slices.erase(mine.slices.begin());
        } else {
          mine.slices.push_back(mine.slices.front());
        }
      }
      const absl::Status status = Save(ModelRequest(5), mine.slices, world, storage).status();
      EXPECT_TRUE(absl::IsInternal(status));
      EXPECT_THAT(status.message(), HasSubstr("tensor \"transformer.wte.weight\""));
      EXPECT_THAT(status.message(), HasSubstr(hole ? "are missing" : "overlap"));
    });
    ExpectLoads(ColumnParts(0, 1), 4, storage);
  }
}

}  // namespace
}  // namespace trireme
