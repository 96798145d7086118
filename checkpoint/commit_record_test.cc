#include "checkpoint/commit_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "checkpoint/checksum.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;

CommitRecord ExampleRecord() {
  return {"step-00123400-a7f3c91e", 123400, 12, 4711, Sha256Hex("manifest")};
}

TEST(CommitRecordTest, DecodesWhatItEncodes) {
  for (const RecordKind kind : {RecordKind::kCommit, RecordKind::kLatest}) {
    const auto record = Decode(kind, Encode(kind, ExampleRecord()), "COMMIT");
    ASSERT_TRUE(record.ok()) << record.status();
    EXPECT_EQ(*record, ExampleRecord());
  }
}

TEST(CommitRecordTest, EveryFlippedBitAndEveryTruncationIsFound) {
  const std::string text = Encode(RecordKind::kCommit, ExampleRecord());
  for (size_t byte = 0; byte < text.size(); ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = text;
      damaged[byte] = static_cast<char>(damaged[byte] ^ (1 << bit));
      const auto record = Decode(RecordKind::kCommit, damaged, "run/COMMIT");
      ASSERT_FALSE(record.ok()) << "byte " << byte << " bit " << bit;
      ASSERT_THAT(record.status().message(), HasSubstr("run/COMMIT: damaged: byte "));
    }
    ASSERT_FALSE(Decode(RecordKind::kCommit, text.substr(0, byte), "run/COMMIT").ok()) << byte;
  }
  EXPECT_FALSE(Decode(RecordKind::kCommit, text + "\n", "run/COMMIT").ok());
}

TEST(CommitRecordTest, ACommitIsNoLatest) {
  EXPECT_FALSE(Decode(RecordKind::kLatest, Encode(RecordKind::kCommit, ExampleRecord()), "LATEST").ok());
}

TEST(CommitRecordTest, ADirectoryThatLeavesTheRunIsRefused) {
  CommitRecord record = ExampleRecord();
  record.directory = "../../etc";
  EXPECT_FALSE(Decode(RecordKind::kLatest, Encode(RecordKind::kLatest, record), "LATEST").ok());
}

TEST(CommitRecordTest, DirectoryNamesHaveEightDigitsOfStepAndOfAttempt) {
  EXPECT_EQ(CheckpointDirectoryName(7, 0xabc), "step-00000007-00000abc");
  EXPECT_EQ(CheckpointDirectoryName(1234567890, 1), "step-1234567890-00000001");
  EXPECT_TRUE(IsCheckpointDirectoryName("step-00000007-00000abc"));
  EXPECT_TRUE(IsCheckpointDirectoryName("step-1234567890-00000001"));
  EXPECT_FALSE(IsCheckpointDirectoryName("step-0000007-00000abc"));
  EXPECT_FALSE(IsCheckpointDirectoryName("step-00000007-00000ABC"));
  EXPECT_FALSE(IsCheckpointDirectoryName("step-00000007-00000abc.tmp"));
  EXPECT_FALSE(IsCheckpointDirectoryName("step-000000x7-00000abc"));
}

// Values from RFC 3720, appendix B.4, and FIPS 180-2.
TEST(ChecksumTest, KnownValues) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c("456789", Crc32c("123")), 0xe3069283u);
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace trireme
