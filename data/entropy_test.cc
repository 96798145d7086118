#include "data/entropy.h"

#include <glog/logging.h>

#include <cmath>

#include "data/prepare.h"
#include "data/test_files.h"

namespace trireme {
namespace {

std::string Source(const TestFolder& folder, const std::string& name, const std::string& text,
                   int64_t bpe = 0) {
  const std::string input = folder.Write(name + ".txt", text);
  CHECK(Prepare({.inputs = {input}, .output = folder / name, .train_tokenizer = bpe}).ok());
  return folder / name;
}

TEST(EntropyTest, MatchesTheFormulaByHand) {
  const TestFolder folder;
  const auto entropy =
      MeasureByteEntropy(Source(folder, "train", "aab"), Source(folder, "validation", "abc"));
  ASSERT_TRUE(entropy.ok()) << entropy.status();
  EXPECT_EQ(entropy->training_bytes, 3);
  EXPECT_EQ(entropy->validation_bytes, 3);
  EXPECT_NEAR(entropy->unigram_bits, -(std::log2(3 / 259.) + std::log2(2 / 259.) + std::log2(1 / 259.)) / 3,
              1e-12);
  // Contexts: document start saw a once; a saw a and b once each; b saw nothing.
  EXPECT_NEAR(entropy->bigram_bits, -(std::log2(2 / 257.) + std::log2(2 / 258.) + std::log2(1 / 256.)) / 3,
              1e-12);
}

TEST(EntropyTest, NoPairLiesAcrossDocuments) {
  const TestFolder folder;
  folder.Write("in/1.txt", "ab");
  folder.Write("in/2.txt", "ab");
  ASSERT_TRUE(Prepare({.inputs = {folder / "in"}, .output = folder / "train"}).ok());
  const auto entropy = MeasureByteEntropy(folder / "train", Source(folder, "validation", "a"));
  ASSERT_TRUE(entropy.ok()) << entropy.status();
  EXPECT_NEAR(entropy->bigram_bits, -std::log2(3 / 258.), 1e-12);
}

TEST(EntropyTest, DoesNotDependOnTheTokenizer) {
  const TestFolder folder;
  std::string text;
  for (int i = 0; i < 3000; ++i) absl::StrAppend(&text, "line ", i * i % 1000, " of the text\n");
  const std::string validation = Source(folder, "validation", "another line of text\n");
  const auto bytes = MeasureByteEntropy(Source(folder, "bytes", text), validation);
  const auto pieces = MeasureByteEntropy(Source(folder, "pieces", text, 320), validation);
  ASSERT_TRUE(bytes.ok() && pieces.ok()) << pieces.status();
  EXPECT_EQ(bytes->unigram_bits, pieces->unigram_bits);
  EXPECT_EQ(bytes->bigram_bits, pieces->bigram_bits);
  EXPECT_LT(bytes->bigram_bits, bytes->unigram_bits);
}

TEST(EntropyTest, CountsTheBytesBehindTokens) {
  const TestFolder folder;
  const auto opened = OpenWithTokenizer(Source(folder, "s", "abcde"));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(*CountBytes(*opened->source, *opened->tokenizer, 0, 6), 5);
  EXPECT_EQ(*CountBytes(*opened->source, *opened->tokenizer, 2, 3), 3);
}

TEST(EntropyTest, RefusesATokenizerThatTheTokensWereNotMadeWith) {
  const TestFolder folder;
  std::string text;
  for (int i = 0; i < 300; ++i) absl::StrAppend(&text, "line ", i * i % 1000, " of the text\n");
  const std::string bytes = Source(folder, "bytes", text);
  const std::string pieces = Source(folder, "pieces", text, 280);
  std::filesystem::copy_file(bytes + "/tokenizer.txt", pieces + "/tokenizer.txt",
                             std::filesystem::copy_options::overwrite_existing);
  ExpectError(OpenWithTokenizer(pieces).status(), absl::StatusCode::kDataLoss, {"tokenizer.txt"});
}

}  // namespace
}  // namespace trireme
