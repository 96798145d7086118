// What survives when saving is disturbed and what is refused when stored bytes are not what was written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/checksum.h"
#include "checkpoint/manifest.pb.h"
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

// Saves the model after `step` on two ranks. All ranks must agree on how it went.
absl::Status SaveStep(int64_t step, int keep, Storage& storage) {
  absl::Status status[2];
  RunThreadRanks(2, [&](Communicator& world) {
    const RankTensors mine = UnevenRanges(world.rank(), 2, step);
    SaveRequest request = ModelRequest(step);
    request.keep = keep;
    status[world.rank()] = Save(request, mine.slices, world, storage).status();
  });
  EXPECT_EQ(status[0], status[1]);
  return status[0];
}

// Opens the run and loads and verifies everything. Sets `step` to what was there.
absl::Status LoadNewest(Storage& storage, int64_t* step) {
  auto reader = CheckpointReader::Open("run", storage);
  if (!reader.ok()) return reader.status();
  *step = (*reader)->state().step;
  const RankTensors wanted = ColumnParts(0, 1);
  if (absl::Status status = (*reader)->tensors().Load(wanted.slices); !status.ok()) return status;
  for (const TensorSlice& slice : wanted.slices) EXPECT_EQ(NumWrongElements(slice, *step), 0) << slice.name;
  return (*reader)->tensors().VerifyAll();
}

std::vector<std::string> CompleteSteps(Storage& storage) {
  std::vector<std::string> steps;
  const auto run = ListCheckpoints("run", storage);
  EXPECT_TRUE(run.ok()) << run.status();
  if (!run.ok()) return steps;
  for (const CommitRecord& record : run->complete) steps.push_back(absl::StrCat(record.step));
  return steps;
}

// Disturbs the second save at its n-th operation for every n, until one is not reached any more.
// `and_after`: nothing works from there on, as if the process had died. `power_cut`: and the power goes.
void DisturbEveryOperation(bool and_after, bool power_cut) {
  bool reached = true;
  int64_t lost = 0;
  int64_t kept = 0;
  for (int64_t n = 0; reached; ++n) {
    MemoryStorage storage;
    ASSERT_TRUE(SaveStep(1, 1, storage).ok());
    storage.FailOperation(n, absl::UnavailableError("injected"), and_after);
    const absl::Status saved = SaveStep(2, 1, storage);
    reached = storage.failed();
    storage.FailOperation(0, absl::OkStatus(), false);
    if (power_cut) storage.CutPower();
    int64_t step = 0;
    const absl::Status loaded = LoadNewest(storage, &step);
    ASSERT_TRUE(loaded.ok()) << "operation " << n << ": " << loaded;
    ASSERT_TRUE(step == 2 || !saved.ok()) << "operation " << n;
    ++(step == 1 ? lost : kept);
    // And the run goes on.
    ASSERT_TRUE(SaveStep(3, 1, storage).ok()) << "operation " << n;
    ASSERT_TRUE(LoadNewest(storage, &step).ok());
    ASSERT_EQ(step, 3);
  }
  // The control: both sides of the commit were hit.
  EXPECT_GT(lost, 20);
  EXPECT_GT(kept, 5);
}

TEST(CommitTest, AnErrorAtAnyOperationLeavesALoadableCheckpoint) {
  DisturbEveryOperation(false, false);
}
TEST(CommitTest, DyingAtAnyOperationLeavesALoadableCheckpoint) {
  DisturbEveryOperation(true, false);
}
TEST(CommitTest, APowerCutAtAnyOperationLeavesALoadableCheckpoint) {
  DisturbEveryOperation(true, true);
}

// The storage before the n-th operation from now of deleting step 1, where step 2 is the newest.
void DeleteUpToOperation(int64_t n, MemoryStorage& storage) {
  ASSERT_TRUE(SaveStep(1, 0, storage).ok());
  ASSERT_TRUE(SaveStep(2, 0, storage).ok());
  const CommitRecord newest = **FindLatest("run", storage);
  storage.FailOperation(n, absl::UnavailableError("injected"), /*and_after=*/true);
  DeleteOldCheckpoints("run", newest, 1, storage).status().IgnoreError();
}

bool HasFile(const MemoryStorage& storage, const std::string& part, const std::string& end) {
  for (const std::string& file : storage.Files()) {
    if (absl::StrContains(file, part) && absl::EndsWith(file, end)) return true;
  }
  return false;
}

TEST(CommitTest, ACommittedCheckpointSurvivesAPowerCutBeforeLatestNamesIt) {
  int64_t cut_there = 0;
  bool reached = true;
  for (int64_t n = 0; reached; ++n) {
    MemoryStorage storage;
    ASSERT_TRUE(SaveStep(1, 1, storage).ok());
    storage.FailOperation(n, absl::UnavailableError("injected"), /*and_after=*/true);
    SaveStep(2, 1, storage).IgnoreError();
    reached = storage.failed();
    storage.FailOperation(0, absl::OkStatus(), false);
    if (!HasFile(storage, "/LATEST.step-00000002", ".tmp")) continue;
    ++cut_there;
    storage.CutPower();
    int64_t step = 0;
    ASSERT_TRUE(LoadNewest(storage, &step).ok());
    EXPECT_EQ(step, 2) << "operation " << n;
  }
  EXPECT_GT(cut_there, 2);
}

TEST(CommitTest, DeletingTakesTheCommitForGoodBeforeAnythingElse) {
  int64_t half_deleted = 0;
  bool reached = true;
  for (int64_t n = 0; reached; ++n) {
    MemoryStorage storage;
    ASSERT_NO_FATAL_FAILURE(DeleteUpToOperation(n, storage));
    reached = storage.failed();
    storage.FailOperation(0, absl::OkStatus(), false);
    if (HasFile(storage, "/step-00000001", "/MANIFEST")) continue;
    ++half_deleted;
    storage.CutPower();
    EXPECT_FALSE(HasFile(storage, "/step-00000001", "/COMMIT")) << "operation " << n;
  }
  EXPECT_GT(half_deleted, 2);
}

TEST(CommitTest, RetentionNeverDeletesWhatLatestNames) {
  MemoryStorage storage;
  ASSERT_TRUE(SaveStep(1, 0, storage).ok());
  const std::string latest = storage.Contents("run/checkpoints/LATEST");
  ASSERT_TRUE(SaveStep(2, 0, storage).ok());
  ASSERT_TRUE(SaveStep(3, 0, storage).ok());
  storage.SetContents("run/checkpoints/LATEST", latest);
  const auto deleted = DeleteOldCheckpoints("run", **FindLatest("run", storage), 1, storage);
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_THAT(CompleteSteps(storage), ElementsAre("1", "3"));
}

TEST(CommitTest, ASavedCheckpointSurvivesAPowerCutAtOnce) {
  MemoryStorage storage;
  ASSERT_TRUE(SaveStep(1, 0, storage).ok());
  storage.CutPower();
  int64_t step = 0;
  EXPECT_TRUE(LoadNewest(storage, &step).ok());
  EXPECT_EQ(step, 1);
}

TEST(CommitTest, TheErrorOfOneRankReachesAllOfThem) {
  MemoryStorage storage;
  RunThreadRanks(3, [&](Communicator& world) {
    // Each rank sees its own disk; that of rank 2 is full.
    MemoryStorage own;
    Storage& disk = world.rank() == 2 ? static_cast<Storage&>(own) : storage;
    own.FailOperation(0, absl::ResourceExhaustedError("disk is full"), true);
    const absl::Status status =
        Save(ModelRequest(5), UnevenRanges(world.rank(), 3, 5).slices, world, disk).status();
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_EQ(status.message(), "rank 2: disk is full");
  });
  EXPECT_THAT(storage.Files(), ElementsAre()) << "an attempt that failed takes no space";
}

TEST(CommitTest, RetentionKeepsTheNewest) {
  MemoryStorage storage;
  for (int64_t step = 1; step <= 4; ++step) ASSERT_TRUE(SaveStep(step, 2, storage).ok());
  EXPECT_THAT(CompleteSteps(storage), ElementsAre("3", "4"));
  ASSERT_TRUE(SaveStep(5, 0, storage).ok());
  ASSERT_TRUE(SaveStep(6, 0, storage).ok());
  EXPECT_THAT(CompleteSteps(storage), ElementsAre("3", "4", "5", "6"));
  ASSERT_TRUE(SaveStep(7, 1, storage).ok());
  EXPECT_THAT(CompleteSteps(storage), ElementsAre("7"));
}

TEST(CommitTest, ARunThatWentBackToAnEarlierStepKeepsWhatItSavesNow) {
  MemoryStorage storage;
  ASSERT_TRUE(SaveStep(100, 2, storage).ok());
  ASSERT_TRUE(SaveStep(200, 2, storage).ok());
  ASSERT_TRUE(SaveStep(110, 2, storage).ok());
  EXPECT_THAT(CompleteSteps(storage), ElementsAre("200", "110"));
  int64_t step = 0;
  ASSERT_TRUE(LoadNewest(storage, &step).ok());
  EXPECT_EQ(step, 110);
}

TEST(CommitTest, AttemptsThatWereNotCommittedAreIgnoredAndReported) {
  MemoryStorage storage;
  ASSERT_TRUE(SaveStep(1, 0, storage).ok());
  ASSERT_TRUE(storage.MakeDirectory("run/checkpoints/step-00000009-deadbeef").ok());
  const auto run = ListCheckpoints("run", storage);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_THAT(run->ignored, ElementsAre("run/checkpoints/step-00000009-deadbeef: was never committed"));
  ASSERT_TRUE(SaveStep(2, 1, storage).ok());
  EXPECT_EQ(ListCheckpoints("run", storage)->ignored.size(), 1u) << "retention leaves attempts alone";
  EXPECT_THAT(CheckpointReader::Open("run/checkpoints/step-00000009-deadbeef", storage).status().message(),
              HasSubstr("has no COMMIT"));
}

TEST(CommitTest, LatestThatPointsNowhereIsRefusedWithARemedy) {
  MemoryStorage storage;
  ASSERT_TRUE(SaveStep(1, 0, storage).ok());
  ASSERT_TRUE(SaveStep(2, 0, storage).ok());
  const std::string latest = FindLatest("run", storage)->value().directory;
  ASSERT_TRUE(storage.Delete(absl::StrCat("run/checkpoints/", latest, "/COMMIT")).ok());
  const absl::Status status = FindLatest("run", storage).status();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(status.message(), HasSubstr("run/checkpoints/LATEST: byte 0: names step-00000002-"));
  EXPECT_THAT(status.message(), HasSubstr("Remedy"));
  EXPECT_TRUE(absl::IsDataLoss(SaveStep(3, 0, storage))) << "nothing is saved over a broken run";
  ASSERT_TRUE(storage.Delete("run/checkpoints/LATEST").ok());
  EXPECT_EQ((*FindLatest("run", storage))->step, 1) << "the remedy works";
}

TEST(CommitTest, ARunThatHasNotSavedHasNoLatest) {
  MemoryStorage storage;
  EXPECT_FALSE(FindLatest("run", storage)->has_value());
  EXPECT_TRUE(absl::IsNotFound(CheckpointReader::Open("run", storage).status()));
  RunThreadRanks(2, [&](Communicator& world) {
    const auto found = FindLatestTogether("run", world, storage);
    EXPECT_TRUE(found.ok());
    EXPECT_FALSE(found->has_value());
  });
}

TEST(CommitTest, AllRanksFindTheSameCheckpoint) {
  MemoryStorage storage;
  ASSERT_TRUE(SaveStep(3, 0, storage).ok());
  RunThreadRanks(2, [&](Communicator& world) {
    const auto found = FindLatestTogether("run", world, storage);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ((*found)->step, 3);
  });
}

// Every file of a checkpoint, damaged in every region; the refusal must name it and a byte.
class DamageTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(SaveStep(1, 0, storage_).ok()); }

  void ExpectRefused(const std::string& path, const std::string& what) {
    int64_t step = 0;
    const absl::Status status = LoadNewest(storage_, &step);
    ASSERT_TRUE(absl::IsDataLoss(status) || absl::IsInvalidArgument(status))
        << path << ", " << what << ": " << status;
    ASSERT_THAT(status.message(), HasSubstr(path)) << what;
    ASSERT_THAT(status.message(), HasSubstr("byte ")) << what;
  }

  MemoryStorage storage_;
};

TEST_F(DamageTest, AFlippedBitAnywhereIsRefusedWithFileAndOffset) {
  int64_t flips = 0;
  for (const std::string& path : storage_.Files()) {
    const std::string contents = storage_.Contents(path);
    const size_t stride = std::max<size_t>(1, contents.size() / 97);
    for (size_t byte = 0; byte < contents.size(); byte += stride, ++flips) {
      std::string damaged = contents;
      damaged[byte] = static_cast<char>(damaged[byte] ^ (1 << (byte % 8)));
      storage_.SetContents(path, damaged);
      ASSERT_NO_FATAL_FAILURE(ExpectRefused(path, absl::StrCat("bit flipped in byte ", byte)));
      ASSERT_EQ(storage_.Contents(path), damaged) << "reading changes nothing";
    }
    storage_.SetContents(path, contents);
  }
  EXPECT_GT(flips, 600);
  int64_t step = 0;
  EXPECT_TRUE(LoadNewest(storage_, &step).ok());
}

TEST_F(DamageTest, ATruncatedExtendedOrMissingFileIsRefusedWithFileAndOffset) {
  for (const std::string& path : storage_.Files()) {
    const std::string contents = storage_.Contents(path);
    for (const size_t size : {size_t{0}, size_t{1}, contents.size() / 2, contents.size() - 1}) {
      storage_.SetContents(path, contents.substr(0, size));
      ASSERT_NO_FATAL_FAILURE(ExpectRefused(path, absl::StrCat("truncated to ", size)));
    }
    storage_.SetContents(path, contents + "x");
    ASSERT_NO_FATAL_FAILURE(ExpectRefused(path, "extended"));
    storage_.SetContents(path, contents);
  }
  for (const std::string& path : storage_.Files()) {
    if (!absl::EndsWith(path, "safetensors") && !absl::EndsWith(path, "MANIFEST")) continue;
    const std::string contents = storage_.Contents(path);
    ASSERT_TRUE(storage_.Delete(path).ok());
    int64_t step = 0;
    const absl::Status status = LoadNewest(storage_, &step);
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(status.message(), HasSubstr(path));
    const std::string name = path.substr(path.rfind('/') + 1);
    ASSERT_TRUE(WriteDurably(path.substr(0, path.rfind('/')), name, name + ".tmp", contents, storage_).ok());
  }
}

TEST_F(DamageTest, ADigestThatTheBytesDoNotHaveIsRefused) {
  const std::string directory =
      absl::StrCat("run/checkpoints/", FindLatest("run", storage_)->value().directory);
  manifest::Manifest manifest;
  ASSERT_TRUE(manifest.ParseFromString(storage_.Contents(directory + "/MANIFEST")));
  manifest.mutable_tensors(0)->set_content_digest(manifest.tensors(0).content_digest() + 1);
  CommitRecord record = **FindLatest("run", storage_);
  record.manifest_sha256 = Sha256Hex(manifest.SerializeAsString());
  storage_.SetContents(directory + "/MANIFEST", manifest.SerializeAsString());
  storage_.SetContents(directory + "/COMMIT", Encode(RecordKind::kCommit, record));
  storage_.SetContents("run/checkpoints/LATEST", Encode(RecordKind::kLatest, record));
  int64_t step = 0;
  const absl::Status status = LoadNewest(storage_, &step);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("content digest"));
}

TEST_F(DamageTest, ADamagedHeaderIsFoundByWhoWantsOnlyTheFilesEnd) {
  MemoryStorage storage;
  SelfCommunicator world;
  const Shape shape({3000, 400});  // several blocks
  RankTensors mine;
  FillWithModel(*mine.Add({"w", DType::kF32, shape, WholeBox(shape), nullptr, false}), 1);
  SaveRequest request = ModelRequest(1);
  request.aliases.clear();
  const auto saved = Save(request, mine.slices, world, storage);
  ASSERT_TRUE(saved.ok()) << saved.status();
  const std::string path = saved->directory + "/w00000.safetensors";
  const std::string contents = storage.Contents(path);
  const auto load_end = [&](size_t damaged_byte) {
    std::string damaged = contents;
    damaged[damaged_byte] = static_cast<char>(damaged[damaged_byte] ^ 4);
    storage.SetContents(path, damaged);
    auto reader = CheckpointReader::Open("run", storage);
    if (!reader.ok()) return reader.status();
    RankTensors wanted;
    return (*reader)->tensors().Load(
        {*wanted.Add({"w", DType::kF32, shape, Box({{2990, 3000}, {0, 400}}), nullptr, false})});
  };
  EXPECT_TRUE(absl::IsDataLoss(load_end(20)));
  EXPECT_TRUE(absl::IsDataLoss(load_end(contents.size() - 100)));
  EXPECT_TRUE(load_end(contents.size() / 2).ok()) << "blocks that nobody wants are not read";
}

TEST_F(DamageTest, SwappedShardsAreRefused) {
  std::vector<std::string> shards;
  for (const std::string& path : storage_.Files()) {
    if (absl::EndsWith(path, "safetensors")) shards.push_back(path);
  }
  ASSERT_EQ(shards.size(), 4u);
  const std::string first = storage_.Contents(shards[0]);
  storage_.SetContents(shards[0], storage_.Contents(shards[2]));
  storage_.SetContents(shards[2], first);
  int64_t step = 0;
  EXPECT_TRUE(absl::IsDataLoss(LoadNewest(storage_, &step)));
}

}  // namespace
}  // namespace trireme
