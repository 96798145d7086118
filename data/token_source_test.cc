#include "data/token_source.h"

#include <glog/logging.h>

#include "data/checked_text.h"
#include "data/test_files.h"

namespace trireme {
namespace {

TEST(TokenSourceTest, ReadsAcrossShardsAsOneRow) {
  const TestFolder folder;
  for (const int64_t shard_tokens : {1, 7, 100, 1000}) {
    const auto source = MustOpen(WriteCountingSource(folder / absl::StrCat(shard_tokens), 300, shard_tokens));
    EXPECT_EQ(source->files().size(), (300 + shard_tokens - 1) / shard_tokens);
    EXPECT_EQ(source->num_tokens(), 300);
    EXPECT_EQ(source->num_documents(), 1);
    std::vector<int32_t> tokens(300);
    ASSERT_TRUE(source->Read(0, absl::MakeSpan(tokens)).ok());
    for (int i = 0; i < 300; ++i) ASSERT_EQ(tokens[i], i % 257);
    tokens.resize(40);
    ASSERT_TRUE(source->Read(93, absl::MakeSpan(tokens)).ok());
    EXPECT_EQ(tokens.front(), 93);
    EXPECT_EQ(tokens.back(), 132);
  }
}

TEST(TokenSourceTest, CountsWindowsThatHaveALabelForEveryInput) {
  const TestFolder folder;
  const auto source = MustOpen(WriteCountingSource(folder / "s", 101, 1000));
  EXPECT_EQ(source->NumWindows(10), 10);
  EXPECT_EQ(source->NumWindows(100), 1);
  EXPECT_EQ(source->NumWindows(101), 0);
  EXPECT_EQ(MustOpen(WriteCountingSource(folder / "t", 100, 1000))->NumWindows(10), 9);
}

TEST(TokenSourceTest, EqualContentHasEqualDigests) {
  const TestFolder folder;
  const auto a = MustOpen(WriteCountingSource(folder / "a", 300, 100));
  EXPECT_EQ(a->digest(), MustOpen(WriteCountingSource(folder / "b", 300, 100))->digest());
  EXPECT_NE(a->digest(), MustOpen(WriteCountingSource(folder / "c", 299, 100))->digest());
}

TEST(TokenSourceTest, RefusesMissingSurplusAndExchangedShards) {
  const TestFolder folder;
  const std::string path = WriteCountingSource(folder / "s", 300, 100);
  const std::string second = path + "/0000001.tokens";
  const std::string content = ReadTestFile(second);
  std::filesystem::remove(second);
  ExpectError(TokenSource::Open(path).status(), absl::StatusCode::kDataLoss, {second, "missing"});
  std::filesystem::copy_file(path + "/0000000.tokens", second);
  ExpectError(TokenSource::Open(path).status(), absl::StatusCode::kDataLoss, {second, "exchanged"});
  folder.Write("s/0000001.tokens", content);
  EXPECT_TRUE(TokenSource::Open(path).ok());
  folder.Write("s/0000007.tokens", content);
  ExpectError(TokenSource::Open(path).status(), absl::StatusCode::kDataLoss, {"0000007.tokens", "not among"});
}

TEST(TokenSourceTest, FindsEveryFlippedBitAndTruncationOfItsList) {
  const TestFolder folder;
  const std::string path = WriteCountingSource(folder / "s", 300, 200);
  const std::string good = ReadTestFile(path + "/source.txt");
  for (size_t byte = 0; byte < good.size(); ++byte) {
    std::string bad = good;
    bad[byte] = static_cast<char>(bad[byte] ^ (1 << (byte % 8)));
    folder.Write("s/source.txt", bad);
    const absl::Status status = TokenSource::Open(path).status();
    ASSERT_FALSE(status.ok()) << byte;
    ASSERT_THAT(std::string(status.message()), ::testing::HasSubstr("/source.txt: byte "));
    folder.Write("s/source.txt", good.substr(0, byte));
    ASSERT_FALSE(TokenSource::Open(path).ok()) << byte;
  }
  folder.Write("s/source.txt", good + "\n");
  EXPECT_FALSE(TokenSource::Open(path).ok());
}

TEST(TokenSourceTest, RefusesShardNamesThatLeaveTheFolder) {
  const TestFolder folder;
  WriteCountingSource(folder / "other", 10, 10);
  const std::string lines = ReadTestFile(folder / "other/source.txt");
  std::string body = lines.substr(0, lines.find("crc32c"));
  body.replace(body.find("0000000"), 0, "../other/");
  folder.Write("s/source.txt", WithChecksumLine(body));
  ExpectError(TokenSource::Open(folder / "s").status(), absl::StatusCode::kInvalidArgument,
              {"source.txt", "../other/0000000.tokens"});
}

TEST(TokenSourceTest, SaysWhatToDoWhereThereIsNoSource) {
  const TestFolder folder;
  WriteCountingSource(folder / "data/train", 10, 10);
  std::filesystem::create_directories(folder / "empty");
  ExpectError(TokenSource::Open(folder / "nowhere").status(), absl::StatusCode::kNotFound,
              {"does not exist"});
  ExpectError(TokenSource::Open(folder / "data").status(), absl::StatusCode::kNotFound, {"data/train"});
  ExpectError(TokenSource::Open(folder / "empty").status(), absl::StatusCode::kNotFound, {"trireme prepare"});
}

}  // namespace
}  // namespace trireme
