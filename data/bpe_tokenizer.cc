#include "data/bpe_tokenizer.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/sentencepiece_model.h"
#include "data/utf8.h"

namespace trireme {
namespace {

constexpr absl::string_view kSpaceMark = "\xE2\x96\x81";
constexpr size_t kMaxSentenceBytes = 4000;  // the trainer drops longer ones
constexpr int64_t kMaxTrainedVocabulary = 1 << 20;

class BpeTokenizer : public Tokenizer {
 public:
  BpeTokenizer(std::string model, std::unique_ptr<SentencePieceModel> pieces)
      : model_(std::move(model)), digest_(DigestOf(model_)), pieces_(std::move(pieces)) {}

  std::string kind() const override { return "bpe"; }
  int64_t vocab_size() const override { return static_cast<int64_t>(pieces_->pieces().size()); }
  int32_t document_end() const override { return pieces_->end_id(); }
  const TokenDigest& digest() const override { return digest_; }
  absl::string_view model() const override { return model_; }

  void Encode(absl::string_view text, std::vector<int32_t>* ids) const override {
    for (const absl::string_view stretch : PlainStretches(text)) {
      EncodeBytes(text.substr(0, stretch.data() - text.data()), ids);
      EncodePlain(stretch, ids);
      text.remove_prefix(stretch.data() + stretch.size() - text.data());
    }
    EncodeBytes(text, ids);
  }

  absl::string_view TokenBytes(int32_t id) const override {
    if (id < 0 || id >= vocab_size()) return "";
    return pieces_->pieces()[id];
  }

  // Whether the model gives `text` back without help.
  bool Keeps(absl::string_view text) const {
    std::vector<int> ids;
    return pieces_->Encode({text.data(), text.size()}, &ids).empty() && Decode(ids) == text;
  }

 private:
  void EncodeBytes(absl::string_view bytes, std::vector<int32_t>* ids) const {
    for (const char c : bytes) ids->push_back(pieces_->byte_ids()[static_cast<unsigned char>(c)]);
  }

  void EncodePlain(absl::string_view text, std::vector<int32_t>* ids) const {
    std::vector<int> found;
    const bool encoded = pieces_->Encode({text.data(), text.size()}, &found).empty();
    if (encoded && IsExactly(found, text)) {
      ids->insert(ids->end(), found.begin(), found.end());
    } else {
      EncodeBytes(text, ids);
    }
  }

  bool IsExactly(const std::vector<int>& ids, absl::string_view text) const {
    for (const int id : ids) {
      const absl::string_view piece = TokenBytes(id);
      if (piece.empty() || !absl::StartsWith(text, piece)) return false;
      text.remove_prefix(piece.size());
    }
    return text.empty();
  }

  std::string model_;
  TokenDigest digest_;
  std::unique_ptr<SentencePieceModel> pieces_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeBpeTokenizer(absl::string_view model) {
  std::unique_ptr<SentencePieceModel> pieces;
  const std::string error = SentencePieceModel::Load({model.data(), model.size()}, &pieces);
  if (!error.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("byte 0: no SentencePiece model: ", error));
  }
  const auto& bytes = pieces->byte_ids();
  if (std::find(bytes.begin(), bytes.end(), -1) != bytes.end()) {
    return absl::InvalidArgumentError(
        "the model has no piece for every byte; train it with byte_fallback=true");
  }
  if (pieces->end_id() < 0) {
    return absl::InvalidArgumentError(
        "the model has no end-of-sentence symbol, which ends documents; train it with eos_id");
  }
  auto tokenizer = std::make_shared<BpeTokenizer>(std::string(model), std::move(pieces));
  if (!tokenizer->Keeps("ab  cd \xEF\xBC\xA1 ")) {
    return absl::InvalidArgumentError(
        "the model changes text; train it with normalization_rule_name=identity, add_dummy_prefix=false, "
        "remove_extra_whitespaces=false");
  }
  return tokenizer;
}

std::vector<absl::string_view> PlainStretches(absl::string_view text) {
  std::vector<absl::string_view> stretches;
  size_t start = 0;
  size_t next = 0;
  const auto close = [&] {
    if (next > start) stretches.push_back(text.substr(start, next - start));
  };
  while (next < text.size()) {
    const size_t size = Utf8Length(text.substr(next));
    const absl::string_view character = text.substr(next, std::max<size_t>(size, 1));
    if (size == 0 || character[0] == '\n' || character[0] == '\0' || character == kSpaceMark) {
      close();
      start = next + character.size();
    }
    next += character.size();
  }
  close();
  return stretches;
}

absl::StatusOr<std::string> TrainBpeModel(const std::vector<std::string>& texts, int64_t vocab_size) {
  if (vocab_size > kMaxTrainedVocabulary) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a vocabulary of ", vocab_size, " is too large to train; at most ", kMaxTrainedVocabulary));
  }
  std::vector<std::string> sentences;
  for (const std::string& text : texts) {
    for (absl::string_view stretch : PlainStretches(text)) {
      while (!stretch.empty()) {
        const absl::string_view piece = stretch.substr(0, Utf8Cut(stretch, kMaxSentenceBytes));
        sentences.emplace_back(piece);
        stretch.remove_prefix(piece.size());
      }
    }
  }
  if (sentences.empty()) return absl::InvalidArgumentError("there is no text to train a tokenizer on");
  std::string model;
  const std::string error = TrainSentencePiece(sentences, static_cast<int>(vocab_size), &model);
  if (!error.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("cannot train a vocabulary of ", vocab_size, ": ", error));
  }
  return model;
}

}  // namespace trireme
