#include "data/token_file.h"

#include <glog/logging.h>

#include "absl/strings/match.h"
#include "data/test_files.h"
#include "data/token_writer.h"

namespace trireme {
namespace {

constexpr int64_t kBlockTokens = kTokenBlockBytes / 2;

std::vector<int32_t> Counting(int64_t count, int64_t vocabulary) {
  std::vector<int32_t> tokens(count);
  for (int64_t i = 0; i < count; ++i) tokens[i] = static_cast<int32_t>(i * 7919 % vocabulary);
  return tokens;
}

void WriteShard(const std::string& path, const std::vector<int32_t>& tokens, int64_t vocabulary) {
  auto writer = TokenWriter::Create(
      path, {.size = vocabulary, .document_end = vocabulary - 1, .tokenizer = DigestOf("t")});
  ASSERT_TRUE(writer.ok()) << writer.status();
  // Odd pieces, so that they end inside blocks.
  for (size_t first = 0; first < tokens.size(); first += 1001) {
    ASSERT_TRUE((*writer)->Append(absl::MakeSpan(tokens).subspan(first, 1001)).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
}

// What opening and verifying a file says.
absl::Status Check(const std::string& path) {
  const auto file = TokenFile::Open(path);
  return file.ok() ? (*file)->Verify() : file.status();
}

TEST(TokenFileTest, GivesBackWhatWasWrittenInBothWidths) {
  const TestFolder folder;
  for (const int64_t vocabulary : {int64_t{257}, int64_t{65536}, int64_t{65537}, int64_t{1} << 31}) {
    for (const int64_t count : {int64_t{0}, int64_t{1}, kBlockTokens, 2 * kBlockTokens + 17}) {
      const std::string path = folder / absl::StrCat(vocabulary, "-", count, ".tokens");
      const std::vector<int32_t> tokens = Counting(count, vocabulary);
      WriteShard(path, tokens, vocabulary);
      const auto file = TokenFile::Open(path);
      ASSERT_TRUE(file.ok()) << file.status();
      EXPECT_EQ((*file)->header().token_bytes, vocabulary <= 65536 ? 2 : 4);
      EXPECT_EQ((*file)->header().vocabulary.size, vocabulary);
      EXPECT_EQ((*file)->header().num_documents, std::count(tokens.begin(), tokens.end(), vocabulary - 1));
      std::vector<int32_t> read(count);
      ASSERT_TRUE((*file)->Read(0, absl::MakeSpan(read)).ok());
      EXPECT_EQ(read, tokens);
      EXPECT_TRUE((*file)->Verify().ok());
    }
  }
}

TEST(TokenFileTest, ReadsAcrossBlocks) {
  const TestFolder folder;
  const std::vector<int32_t> tokens = Counting(3 * kBlockTokens, 1000);
  WriteShard(folder / "a.tokens", tokens, 1000);
  const auto file = TokenFile::Open(folder / "a.tokens");
  ASSERT_TRUE(file.ok());
  std::vector<int32_t> read(kBlockTokens + 10);
  ASSERT_TRUE((*file)->Read(kBlockTokens - 5, absl::MakeSpan(read)).ok());
  EXPECT_TRUE(std::equal(read.begin(), read.end(), tokens.begin() + kBlockTokens - 5));
}

TEST(TokenFileTest, LiesOnDiskAsTheFormatSays) {
  const TestFolder folder;
  auto writer = TokenWriter::Create(folder / "a.tokens", {.size = 257, .document_end = 256, .tokenizer = {}});
  ASSERT_TRUE((*writer)->Append({65, 256}).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  const std::string bytes = ReadTestFile(folder / "a.tokens");
  ASSERT_EQ(bytes.size(), 128 + 4 + 4);
  EXPECT_EQ(bytes.substr(0, 16), std::string("TRTOKENS\1\0\0\0\2\0\0\0", 16));
  EXPECT_EQ(bytes.substr(16, 16), std::string("\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 16));
  EXPECT_EQ(bytes.substr(128, 4), std::string("A\0\0\1", 4));
}

TEST(TokenFileTest, ChecksumIsCastagnolis) {
  EXPECT_EQ(TokenCrc32c("123456789"), 0xE3069283u);
}

TEST(TokenFileTest, FindsEveryFlippedBitAndNamesTheByteRange) {
  const TestFolder folder;
  WriteShard(folder / "a.tokens", Counting(20, 257), 257);
  const std::string good = ReadTestFile(folder / "a.tokens");
  ASSERT_EQ(good.size(), 128 + 40 + 4);
  for (size_t byte = 0; byte < good.size(); ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[byte] = static_cast<char>(bad[byte] ^ (1 << bit));
      const absl::Status status = Check(folder.Write("bad.tokens", bad));
      ASSERT_FALSE(status.ok()) << "byte " << byte << " bit " << bit;
      const std::string where = byte < 128 ? ": byte 0: " : byte < 168 ? ": byte 128: " : ": byte 168: ";
      ASSERT_THAT(std::string(status.message()), ::testing::StartsWith((folder / "bad.tokens") + where));
    }
  }
}

TEST(TokenFileTest, FindsEveryTruncationAndExtension) {
  const TestFolder folder;
  WriteShard(folder / "a.tokens", Counting(20, 257), 257);
  const std::string good = ReadTestFile(folder / "a.tokens");
  for (size_t size = 0; size < good.size(); ++size) {
    ExpectError(Check(folder.Write("bad.tokens", good.substr(0, size))), absl::StatusCode::kDataLoss,
                {folder / "bad.tokens", absl::StrCat("byte ", size, ":")});
  }
  for (const std::string& more : {std::string(1, '\0'), std::string(128, 'x'), good}) {
    ExpectError(Check(folder.Write("bad.tokens", good + more)), absl::StatusCode::kDataLoss,
                {folder / "bad.tokens", "byte 172:", absl::StrCat(more.size(), " bytes follow")});
  }
}

TEST(TokenFileTest, DamageIsFoundWhenItsBlockIsFirstRead) {
  const TestFolder folder;
  WriteShard(folder / "a.tokens", Counting(2 * kBlockTokens, 257), 257);
  std::string bytes = ReadTestFile(folder / "a.tokens");
  bytes[128 + kTokenBlockBytes + 5] ^= 1;
  const auto file = TokenFile::Open(folder.Write("bad.tokens", bytes));
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<int32_t> read(10);
  EXPECT_TRUE((*file)->Read(kBlockTokens - 10, absl::MakeSpan(read)).ok());
  ExpectError((*file)->Read(kBlockTokens - 9, absl::MakeSpan(read)), absl::StatusCode::kDataLoss,
              {"bad.tokens", absl::StrCat("byte ", 128 + kTokenBlockBytes)});
}

// Rewrites the checksums, as a hostile writer would.
std::string Forge(std::string bytes, int offset, const std::string& field) {
  bytes.replace(offset, field.size(), field);
  const uint32_t crc = TokenCrc32c(absl::string_view(bytes).substr(0, 124));
  bytes.replace(124, 4, reinterpret_cast<const char*>(&crc), 4);
  return bytes;
}

TEST(TokenFileTest, RefusesHeadersThatCannotBeDespiteARightChecksum) {
  const TestFolder folder;
  WriteShard(folder / "a.tokens", Counting(100, 257), 257);
  const std::string good = ReadTestFile(folder / "a.tokens");
  const std::string huge = "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F";
  const std::string zero(8, '\0');
  const std::vector<std::pair<int, std::string>> forgeries = {
      {8, "\2"},  {12, "\3"}, {16, huge}, {16, std::string(8, '\xFF')}, {24, huge}, {32, huge}, {32, zero},
      {40, huge}, {48, zero}, {100, "x"}};
  for (const auto& [offset, field] : forgeries) {
    const int named = offset == 100 ? 92 : offset;
    ExpectError(Check(folder.Write("bad.tokens", Forge(good, offset, field))),
                absl::StatusCode::kInvalidArgument,
                {folder / "bad.tokens", absl::StrCat("byte ", named, ":")});
  }
  ExpectError(Check(folder.Write("bad.tokens", Forge(good, 24, "\7"))), absl::StatusCode::kDataLoss,
              {"byte 24", "7 documents"});
}

TEST(TokenFileTest, RefusesATokenOutsideTheVocabularyDespiteRightChecksums) {
  const TestFolder folder;
  WriteShard(folder / "a.tokens", Counting(100, 257), 257);
  const std::string forged =
      Forge(ReadTestFile(folder / "a.tokens"), 32, std::string("\x02\x01\0\0\0\0\0\0", 8));
  EXPECT_TRUE(Check(folder.Write("bad.tokens", forged)).ok());
  const std::string smaller =
      Forge(Forge(forged, 40, std::string("\1\0\0\0\0\0\0\0", 8)), 32, std::string("\x80\0\0\0\0\0\0\0", 8));
  const auto tokens = Counting(100, 257);
  const auto first =
      std::find_if(tokens.begin(), tokens.end(), [](int32_t t) { return t >= 128; }) - tokens.begin();
  ExpectError(Check(folder.Write("bad.tokens", smaller)), absl::StatusCode::kDataLoss,
              {absl::StrCat("byte ", 128 + 2 * first, ":"), "outside the vocabulary of 128"});
}

TEST(TokenFileTest, AWriterThatDoesNotFinishLeavesNothing) {
  const TestFolder folder;
  {
    auto writer =
        TokenWriter::Create(folder / "a.tokens", {.size = 257, .document_end = 256, .tokenizer = {}});
    ASSERT_TRUE((*writer)->Append(Counting(3 * kBlockTokens, 257)).ok());
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "a.tokens"));
}

TEST(TokenFileTest, NeverOverwrites) {
  const TestFolder folder;
  folder.Write("a.tokens", "precious");
  EXPECT_EQ(TokenWriter::Create(folder / "a.tokens", {.size = 2, .document_end = 1, .tokenizer = {}})
                .status()
                .code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReadTestFile(folder / "a.tokens"), "precious");
}

}  // namespace
}  // namespace trireme
