#include "data/tokenizer.h"

#include <glog/logging.h>

#include "configs/config.pb.h"
#include "data/bpe_tokenizer.h"
#include "data/sentencepiece_model.h"
#include "data/test_files.h"
#include "runtime/random.h"

namespace trireme {
namespace {

// Text with repetitions, so that there are pairs to merge.
std::string TrainingText() {
  const std::vector<std::string> words = {"the",  "three", "banks",   "of",    "oars",
                                          "rank", "row",   "trireme", "Größe", "日本"};
  std::string text;
  for (int i = 0; i < 4000; ++i) {
    absl::StrAppend(&text, words[i * i % 97 % words.size()], i % 11 == 0 ? "\n    " : " ");
  }
  return text;
}

const std::string& TrainedModel() {
  static const std::string* model = [] {
    auto trained = TrainBpeModel({TrainingText()}, 320);
    CHECK(trained.ok()) << trained.status();
    return new std::string(*trained);
  }();
  return *model;
}

std::shared_ptr<const Tokenizer> Bpe() {
  auto tokenizer = MakeBpeTokenizer(TrainedModel());
  CHECK(tokenizer.ok()) << tokenizer.status();
  return *tokenizer;
}

std::vector<int32_t> Encode(const Tokenizer& tokenizer, absl::string_view text) {
  std::vector<int32_t> ids;
  tokenizer.Encode(text, &ids);
  return ids;
}

std::vector<std::string> HardTexts() {
  std::vector<std::string> texts = {
      "",
      " ",
      "  a  b  ",
      "\n",
      "\n\n a\n",
      "\t\ttabs\t",
      std::string("nul\0nul", 7),
      "\r\nwindows\r\n",
      "caf\xC3\xA9 \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x9A\xA3",
      "cafe\xCC\x81 \xEF\xAC\x81 \xEF\xBC\xA1",
      "\xE2\x96\x81 literal space mark\xE2\x96\x81",
      "\xFF\xFE broken \xC3( \xE2\x96 cut \xED\xA0\x80 surrogate \xF4\x90\x80\x80",
      "<s></s><unk><0x41><0x0A>",
      "\xC2\xA0nbsp\xE3\x80\x80wide",
      "\xE2\x96",
      "the trireme of three banks"};
  for (int i = 0; i < 200; ++i) {
    std::string bytes;
    const RandomStream stream(7, i);
    for (int k = 0; k < i; ++k) bytes += static_cast<char>(stream.Words(k)[0]);
    texts.push_back(bytes);
  }
  return texts;
}

TEST(TokenizerTest, BytesAreTheirOwnIds) {
  const auto tokenizer = MakeByteTokenizer();
  EXPECT_EQ(tokenizer->vocab_size(), 257);
  EXPECT_EQ(tokenizer->document_end(), 256);
  EXPECT_THAT(Encode(*tokenizer, "A\xFF"), ::testing::ElementsAre(65, 255));
}

TEST(TokenizerTest, BothKindsGiveBackAnyBytes) {
  for (const auto& tokenizer : {MakeByteTokenizer(), Bpe()}) {
    for (const std::string& text : HardTexts()) {
      const std::vector<int32_t> ids = Encode(*tokenizer, text);
      EXPECT_EQ(tokenizer->Decode(ids), text) << tokenizer->kind();
      for (const int32_t id : ids)
        ASSERT_TRUE(id >= 0 && id < tokenizer->vocab_size() && id != tokenizer->document_end());
    }
  }
}

TEST(TokenizerTest, BpeIsShorterThanBytesOnItsText) {
  const std::string text = TrainingText();
  EXPECT_LT(Encode(*Bpe(), text).size() * 2, text.size());
}

TEST(TokenizerTest, TextCutBehindLineEndsGivesTheIdsOfTheWhole) {
  const std::string text = TrainingText();
  const auto tokenizer = Bpe();
  std::vector<int32_t> pieces;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size() - 1) + 1;
    tokenizer->Encode(absl::string_view(text).substr(start, end - start), &pieces);
    start = end;
  }
  EXPECT_EQ(pieces, Encode(*tokenizer, text));
}

// A stretch that held the mark would fall back to bytes as a whole.
TEST(TokenizerTest, WhatSentencePieceCannotKeepCostsOnlyItsOwnBytes) {
  const auto tokenizer = Bpe();
  const std::string words = "the trireme of three banks of oars";
  const size_t alone = Encode(*tokenizer, words).size();
  EXPECT_LT(alone * 2, words.size());
  for (const std::string& odd : {std::string("\xE2\x96\x81"), std::string("\0", 1), std::string("\xFF")}) {
    EXPECT_EQ(Encode(*tokenizer, absl::StrCat(words, odd, words)).size(), 2 * alone + odd.size());
  }
}

TEST(TokenizerTest, TrainingTwiceGivesTheSameModel) {
  const auto again = TrainBpeModel({TrainingText()}, 320);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, TrainedModel());
}

TEST(TokenizerTest, DecodingIgnoresIdsThatDoNotExist) {
  for (const auto& tokenizer : {MakeByteTokenizer(), Bpe()}) {
    EXPECT_EQ(tokenizer->Decode(
                  {-1, tokenizer->document_end(), static_cast<int32_t>(tokenizer->vocab_size()), 1 << 30}),
              "");
  }
}

TEST(TokenizerTest, TrainingSaysWhatIsWrong) {
  ExpectError(TrainBpeModel({TrainingText()}, 200).status(), absl::StatusCode::kInvalidArgument,
              {"cannot train a vocabulary of 200"});
  ExpectError(TrainBpeModel({}, 400).status(), absl::StatusCode::kInvalidArgument, {"no text"});
  ExpectError(TrainBpeModel({"\xFF\n"}, 400).status(), absl::StatusCode::kInvalidArgument, {"no text"});
  ExpectError(TrainBpeModel({TrainingText()}, int64_t{1} << 40).status(), absl::StatusCode::kInvalidArgument,
              {"too large"});
}

TEST(TokenizerTest, SavedTokenizersLoadAsTheSame) {
  for (const auto& tokenizer : {MakeByteTokenizer(), Bpe()}) {
    const TestFolder folder;
    std::filesystem::create_directories(folder / "t");
    ASSERT_TRUE(SaveTokenizer(*tokenizer, folder / "t").ok());
    const auto loaded = LoadTokenizer(folder / "t");
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ((*loaded)->kind(), tokenizer->kind());
    EXPECT_EQ((*loaded)->digest(), tokenizer->digest());
    EXPECT_EQ(Encode(**loaded, TrainingText()), Encode(*tokenizer, TrainingText()));
  }
}

TEST(TokenizerTest, DamagedFilesAreRefused) {
  const TestFolder folder;
  std::filesystem::create_directories(folder / "t");
  ASSERT_TRUE(SaveTokenizer(*Bpe(), folder / "t").ok());
  const std::string text = ReadTestFile(folder / "t/tokenizer.txt");
  for (size_t byte = 0; byte < text.size(); ++byte) {
    std::string bad = text;
    bad[byte] ^= 2;
    folder.Write("t/tokenizer.txt", bad);
    const absl::Status status = LoadTokenizer(folder / "t").status();
    ASSERT_FALSE(status.ok()) << byte;
    ASSERT_THAT(std::string(status.message()), ::testing::HasSubstr("tokenizer.txt: byte "));
  }
  folder.Write("t/tokenizer.txt", text);
  for (size_t byte = 0; byte < TrainedModel().size(); byte += 101) {
    std::string bad = TrainedModel();
    bad[byte] ^= 16;
    folder.Write("t/tokenizer.model", bad);
    const absl::Status status = LoadTokenizer(folder / "t").status();
    ASSERT_FALSE(status.ok()) << byte;
    ASSERT_THAT(std::string(status.message()), ::testing::HasSubstr("tokenizer.model: "));
  }
  folder.Write("t/tokenizer.model", "no model");
  ExpectError(LoadTokenizer(folder / "t").status(), absl::StatusCode::kInvalidArgument,
              {"tokenizer.model", "no SentencePiece model"});
}

TEST(TokenizerTest, SpecsNameTheKinds) {
  const TestFolder folder;
  const std::string model = folder.Write("m.model", TrainedModel());
  EXPECT_EQ((*TokenizerFromSpec("byte"))->kind(), "byte");
  EXPECT_EQ((*TokenizerFromSpec("bpe:" + model))->digest(), Bpe()->digest());
  ExpectError(TokenizerFromSpec("word").status(), absl::StatusCode::kInvalidArgument,
              {"word", "byte", "bpe:FILE"});
  ExpectError(TokenizerFromSpec("bpe:").status(), absl::StatusCode::kInvalidArgument, {"bpe:FILE"});
  ExpectError(TokenizerFromSpec("bpe:/nowhere.model").status(), absl::StatusCode::kNotFound,
              {"/nowhere.model"});
}

TEST(TokenizerTest, MessagesOfOurOwnAndSentencePieceLiveInOneProcess) {
  Config config;
  config.mutable_model()->set_architecture("llama");
  Config copy;
  ASSERT_TRUE(copy.ParseFromString(config.SerializeAsString()));
  EXPECT_EQ(Bpe()->kind(), "bpe");
  EXPECT_EQ(copy.model().architecture(), "llama");
}

}  // namespace
}  // namespace trireme
