#include "data/prepare.h"

#include <glog/logging.h>
#include <unistd.h>

#include "absl/strings/str_split.h"
#include "data/entropy.h"
#include "data/test_files.h"

namespace trireme {
namespace {

// The documents of a source, decoded.
std::vector<std::string> Decoded(const std::string& directory) {
  const auto opened = OpenWithTokenizer(directory);
  CHECK(opened.ok()) << opened.status();
  std::vector<int32_t> tokens(opened->source->num_tokens());
  CHECK(opened->source->Read(0, absl::MakeSpan(tokens)).ok());
  std::vector<std::string> documents(1);
  for (const int32_t token : tokens) {
    if (token == opened->tokenizer->document_end()) {
      documents.emplace_back();
    } else {
      absl::StrAppend(&documents.back(), opened->tokenizer->TokenBytes(token));
    }
  }
  CHECK(documents.back().empty()) << "the source does not end in a document end";
  documents.pop_back();
  return documents;
}

std::string SomeText() {
  std::string text;
  for (int i = 0; i < 3000; ++i) absl::StrAppend(&text, "line ", i * i % 1000, " of the text\n");
  return text;
}

TEST(PrepareTest, MakesOneSourceOfFilesJsonLinesAndFolders) {
  const TestFolder folder;
  const std::string text = folder.Write("a.txt", "first");
  const std::string lines = folder.Write("b.jsonl", "{\"text\":\"second\"}\n{\"text\":\"third\"}\n");
  folder.Write("more/c.txt", "fourth\xFF");
  const auto report = Prepare({.inputs = {text, lines, folder / "more"}, .output = folder / "out"});
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->sources.size(), 1);
  EXPECT_EQ(report->sources[0].documents, 4);
  EXPECT_EQ(report->sources[0].bytes, 23);
  EXPECT_EQ(report->sources[0].tokens, 27);
  EXPECT_EQ(report->vocab_size, 257);
  EXPECT_THAT(Decoded(folder / "out"), ::testing::ElementsAre("first", "second", "third", "fourth\xFF"));
  EXPECT_THAT(NamesIn(folder / "out"),
              ::testing::ElementsAre("0000000.tokens", "source.txt", "tokenizer.txt"));
}

TEST(PrepareTest, SplitsShardsWhereTold) {
  const TestFolder folder;
  folder.Write("a.txt", SomeText());
  const auto report =
      Prepare({.inputs = {folder / "a.txt"}, .output = folder / "out", .shard_tokens = 10000});
  ASSERT_TRUE(report.ok());
  EXPECT_GT(report->sources[0].shards, 3);
  EXPECT_THAT(Decoded(folder / "out"), ::testing::ElementsAre(SomeText()));
}

TEST(PrepareTest, HoldsOutValidationText) {
  const TestFolder folder;
  folder.Write("a.txt", SomeText());
  const auto report =
      Prepare({.inputs = {folder / "a.txt"}, .output = folder / "out", .validation_share = 0.1});
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->sources.size(), 2);
  EXPECT_EQ(report->sources[0].path, folder / "out/train");
  EXPECT_EQ(report->sources[1].path, folder / "out/validation");
  EXPECT_EQ(Decoded(folder / "out/train")[0] + Decoded(folder / "out/validation")[0], SomeText());
}

TEST(PrepareTest, TrainsATokenizerThatLiesBesideTheTokens) {
  const TestFolder folder;
  folder.Write("a.txt", SomeText());
  const PrepareOptions options = {.inputs = {folder / "a.txt"},
                                  .output = folder / "out",
                                  .train_tokenizer = 290,
                                  .validation_share = 0.1};
  const auto report = Prepare(options);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->vocab_size, 290);
  EXPECT_EQ(Decoded(folder / "out/train")[0] + Decoded(folder / "out/validation")[0], SomeText());
  EXPECT_LT(report->sources[0].tokens * 2, report->sources[0].bytes);

  const auto again = Prepare({.inputs = {folder / "a.txt"},
                              .output = folder / "again",
                              .tokenizer = "bpe:" + (folder / "out/train/tokenizer.model")});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_THAT(Decoded(folder / "again"), ::testing::ElementsAre(SomeText()));
}

TEST(PrepareTest, TwiceGivesTheSameBytes) {
  const TestFolder folder;
  folder.Write("a.txt", SomeText());
  for (const char* out : {"one", "two"}) {
    ASSERT_TRUE(Prepare({.inputs = {folder / "a.txt"}, .output = folder / out, .train_tokenizer = 290}).ok());
  }
  for (const char* name : {"/0000000.tokens", "/source.txt", "/tokenizer.txt", "/tokenizer.model"}) {
    EXPECT_EQ(ReadTestFile((folder / "one") + name), ReadTestFile((folder / "two") + name)) << name;
  }
}

TEST(PrepareTest, ReportsProgressUpToTheEnd) {
  const TestFolder folder;
  folder.Write("a.txt", SomeText());
  std::vector<std::string> finished;
  ASSERT_TRUE(
      Prepare({.inputs = {folder / "a.txt"}, .output = folder / "out"}, [&](const PrepareProgress& progress) {
        EXPECT_LE(progress.bytes_done, progress.bytes_total);
        if (progress.bytes_done == progress.bytes_total) finished.push_back(progress.stage);
      }).ok());
  EXPECT_THAT(finished, ::testing::ElementsAre("reading", "writing"));
}

TEST(PrepareTest, ErrorsLeaveNothingBehind) {
  const TestFolder folder;
  const std::string good = folder.Write("in/a.txt", "good");
  const std::string bad = folder.Write("in/b.jsonl", "{\"text\":\"x\"}\n{\"text\":\n");
  const std::string empty = folder.Write("empty.txt", "");
  const auto prepare = [&](PrepareOptions options) {
    options.output = folder / "out/deep/er";
    return Prepare(options).status();
  };
  ExpectError(prepare({.inputs = {good, bad}}), absl::StatusCode::kInvalidArgument,
              {bad + ":2: ", "invalid JSON"});
  ExpectError(prepare({.inputs = {good, folder / "no"}}), absl::StatusCode::kNotFound, {folder / "no"});
  ExpectError(prepare({.inputs = {empty}}), absl::StatusCode::kInvalidArgument, {"no text", "empty.txt"});
  ExpectError(prepare({.inputs = {good}, .tokenizer = "bpe:" + good}), absl::StatusCode::kInvalidArgument,
              {good});
  ExpectError(prepare({.inputs = {good}, .train_tokenizer = 5}), absl::StatusCode::kInvalidArgument,
              {"vocabulary of 5"});
  ExpectError(prepare({.inputs = {folder.Write("short.txt", "a")}, .validation_share = 0.1}),
              absl::StatusCode::kInvalidArgument, {"no text is left"});
  if (std::filesystem::exists(folder / "out/deep")) {
    EXPECT_THAT(NamesIn(folder / "out/deep"), ::testing::IsEmpty());
  }
}

TEST(PrepareTest, NeverOverwrites) {
  const TestFolder folder;
  const std::string good = folder.Write("a.txt", "good");
  folder.Write("out/precious", "precious");
  ExpectError(Prepare({.inputs = {good}, .output = folder / "out"}).status(),
              absl::StatusCode::kAlreadyExists, {folder / "out", "remove it or name another"});
  ExpectError(Prepare({.inputs = {good}, .output = good}).status(), absl::StatusCode::kAlreadyExists, {good});
  EXPECT_THAT(NamesIn(folder / "out"), ::testing::ElementsAre("precious"));
  std::filesystem::create_directories(folder / "vacant");
  EXPECT_TRUE(Prepare({.inputs = {good}, .output = (folder / "vacant") + "/"}).ok());
}

TEST(PrepareTest, NamesEveryProblemOfTheOptions) {
  const absl::Status status = CheckPrepareOptions(
      {.tokenizer = "byte", .train_tokenizer = -3, .validation_share = 0.0 / 0.0, .shard_tokens = 0});
  ExpectError(status, absl::StatusCode::kInvalidArgument,
              {"--input", "--output", "exclude each other", "-3", "--validation-share nan", "0 tokens"});
}

}  // namespace
}  // namespace trireme
