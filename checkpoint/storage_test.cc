#include "checkpoint/storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "checkpoint/memory_storage.h"

namespace trireme {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What every storage must do, in a fresh directory of it.
void CheckContract(Storage& storage, const std::string& root) {
  const std::string path = root + "/a";
  auto file = storage.CreateExclusive(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE((*file)->Append("hello ").ok());
  ASSERT_TRUE((*file)->Append("there").ok());
  ASSERT_TRUE((*file)->Sync().ok());
  ASSERT_TRUE((*file)->Close().ok());
  EXPECT_TRUE(absl::IsAlreadyExists(storage.CreateExclusive(path).status()));
  EXPECT_EQ(*storage.FileSize(path), 11);
  EXPECT_TRUE(absl::IsNotFound(storage.FileSize(root + "/b").status()));
  EXPECT_TRUE(absl::IsNotFound(storage.OpenForRead(root + "/b").status()));

  ASSERT_TRUE(storage.Rename(path, root + "/b").ok());
  EXPECT_TRUE(absl::IsNotFound(storage.OpenForRead(path).status()));
  auto readable = storage.OpenForRead(root + "/b");
  ASSERT_TRUE(readable.ok());
  char bytes[5];
  ASSERT_TRUE((*readable)->Read(6, 5, bytes).ok());
  EXPECT_EQ(std::string(bytes, 5), "there");
  EXPECT_TRUE(absl::IsDataLoss((*readable)->Read(8, 5, bytes)));

  ASSERT_TRUE(storage.MakeDirectory(root + "/d").ok());
  EXPECT_TRUE(absl::IsAlreadyExists(storage.MakeDirectory(root + "/d")));
  EXPECT_TRUE(absl::IsInvalidArgument(storage.OpenForRead(root + "/d").status()));
  EXPECT_THAT(*storage.List(root), ElementsAre("b", "d"));
  EXPECT_TRUE(absl::IsNotFound(storage.List(root + "/x").status()));
  EXPECT_TRUE(storage.SyncDirectory(root).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(storage.DeleteDirectory(root)));
  EXPECT_TRUE(storage.DeleteDirectory(root + "/d").ok());
  EXPECT_TRUE(storage.Delete(root + "/b").ok());
  EXPECT_THAT(*storage.List(root), ElementsAre());
}

std::string TemporaryDirectory() {
  std::string path = testing::TempDir() + "trireme_storage_XXXXXX";
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  return path;
}

TEST(StorageTest, PosixKeepsTheContract) {
  const std::string root = TemporaryDirectory();
  const std::unique_ptr<Storage> storage = NewPosixStorage();
  CheckContract(*storage, root);
  EXPECT_TRUE(storage->DeleteDirectory(root).ok());
}

TEST(StorageTest, MemoryKeepsTheContract) {
  MemoryStorage storage;
  ASSERT_TRUE(storage.MakeDirectory("root").ok());
  CheckContract(storage, "root");
}

TEST(StorageTest, PosixRefusesAPipeAtOnce) {
  const std::string root = TemporaryDirectory();
  ASSERT_EQ(mkfifo((root + "/pipe").c_str(), 0600), 0);
  const std::unique_ptr<Storage> storage = NewPosixStorage();
  EXPECT_THAT(storage->OpenForRead(root + "/pipe").status().message(),
              HasSubstr("/pipe: not a regular file"));
  EXPECT_TRUE(storage->Delete(root + "/pipe").ok());
  EXPECT_TRUE(storage->DeleteDirectory(root).ok());
}

TEST(StorageTest, PowerCutTakesWhatWasNotSynced) {
  MemoryStorage storage;
  ASSERT_TRUE(storage.MakeDirectory("d").ok());
  ASSERT_TRUE(storage.SyncDirectory("").ok());
  auto file = storage.CreateExclusive("d/a");
  ASSERT_TRUE((*file)->Append("kept").ok());
  ASSERT_TRUE((*file)->Sync().ok());
  ASSERT_TRUE((*file)->Append(" lost").ok());
  ASSERT_TRUE(storage.SyncDirectory("d").ok());
  ASSERT_TRUE(storage.CreateExclusive("d/b").ok());
  ASSERT_TRUE(storage.Rename("d/a", "d/c").ok());
  storage.CutPower();
  EXPECT_THAT(storage.Files(), ElementsAre("d/a"));
  EXPECT_EQ(storage.Contents("d/a"), "kept");
}

TEST(StorageTest, DurableWriteSurvivesThePowerCutThatFollowsIt) {
  MemoryStorage storage;
  ASSERT_TRUE(WriteDurably("", "LATEST", "LATEST.tmp", "one", storage).ok());
  ASSERT_TRUE(WriteDurably("", "LATEST", "LATEST.tmp", "two", storage).ok());
  storage.CutPower();
  EXPECT_THAT(storage.Files(), ElementsAre("LATEST"));
  EXPECT_EQ(storage.Contents("LATEST"), "two");
}

TEST(StorageTest, TheChosenOperationFailsAndOnlyIt) {
  MemoryStorage storage;
  storage.FailOperation(1, absl::ResourceExhaustedError("full"), /*and_after=*/false);
  EXPECT_TRUE(storage.MakeDirectory("a").ok());
  EXPECT_TRUE(absl::IsResourceExhausted(storage.MakeDirectory("b")));
  EXPECT_TRUE(storage.failed());
  EXPECT_TRUE(storage.MakeDirectory("c").ok());
  EXPECT_THAT(*storage.List(""), ElementsAre("a", "c"));
}

TEST(StorageTest, AFileBeyondTheLimitIsNotRead) {
  MemoryStorage storage;
  ASSERT_TRUE(WriteDurably("", "f", "f.tmp", "12345", storage).ok());
  EXPECT_EQ(*ReadWholeFile("f", 5, storage), "12345");
  EXPECT_TRUE(absl::IsInvalidArgument(ReadWholeFile("f", 4, storage).status()));
}

}  // namespace
}  // namespace trireme
