#include "data/sentencepiece_model.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstddef>
#include <unordered_map>
#include <utility>

namespace trireme {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581 stands for a space inside a piece

std::string WithSpaces(std::string_view piece) {
  std::string text;
  while (!piece.empty()) {
    if (piece.substr(0, kSpaceMark.size()) == kSpaceMark) {
      text += ' ';
      piece.remove_prefix(kSpaceMark.size());
    } else {
      text += piece.front();
      piece.remove_prefix(1);
    }
  }
  return text;
}

class VectorIterator : public sentencepiece::SentenceIterator {
 public:
  explicit VectorIterator(const std::vector<std::string>& sentences) : sentences_(sentences) {}
  bool done() const override { return next_ == sentences_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return sentences_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& sentences_;
  size_t next_ = 0;
};

}  // namespace

struct SentencePieceModel::Processor {
  sentencepiece::SentencePieceProcessor sentencepiece;
};

SentencePieceModel::SentencePieceModel() : processor_(std::make_unique<Processor>()) {
  byte_ids_.fill(-1);
}
SentencePieceModel::~SentencePieceModel() = default;

std::string SentencePieceModel::Load(std::string_view serialized,
                                     std::unique_ptr<SentencePieceModel>* model) {
  std::unique_ptr<SentencePieceModel> loaded(new SentencePieceModel);
  sentencepiece::SentencePieceProcessor& processor = loaded->processor_->sentencepiece;
  const sentencepiece::util::Status status = processor.LoadFromSerializedProto(serialized);
  if (!status.ok()) return status.ToString();
  for (int id = 0; id < processor.GetPieceSize(); ++id) {
    const std::string& piece = processor.IdToPiece(id);
    if (processor.IsByte(id)) {
      // Byte pieces are named <0x00> to <0xFF>; the library refuses others.
      const int byte = std::stoi(piece.substr(3, 2), nullptr, 16);
      loaded->byte_ids_[byte] = id;
      loaded->pieces_.emplace_back(1, static_cast<char>(byte));
    } else if (processor.IsControl(id) || processor.IsUnknown(id)) {
      loaded->pieces_.emplace_back();
    } else {
      loaded->pieces_.push_back(WithSpaces(piece));
    }
  }
  *model = std::move(loaded);
  return "";
}

int SentencePieceModel::end_id() const {
  return processor_->sentencepiece.eos_id();
}

std::string SentencePieceModel::Encode(std::string_view text, std::vector<int>* ids) const {
  const sentencepiece::util::Status status = processor_->sentencepiece.Encode(text, ids);
  return status.ok() ? "" : status.ToString();
}

std::string TrainSentencePiece(const std::vector<std::string>& sentences, int vocab_size,
                               std::string* serialized) {
  VectorIterator iterator(sentences);
  const std::unordered_map<std::string, std::string> arguments = {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(vocab_size)},
      {"hard_vocab_limit", "false"},
      {"byte_fallback", "true"},
      {"character_coverage", "0.9995"},
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"allow_whitespace_only_pieces", "true"},
      {"split_digits", "true"},
      {"num_threads", "1"},
      {"unk_id", "0"},
      {"eos_id", "1"},
      {"bos_id", "-1"},
      {"pad_id", "-1"},
      {"minloglevel", "1"},
  };
  const sentencepiece::util::Status status =
      sentencepiece::SentencePieceTrainer::Train(arguments, &iterator, serialized);
  return status.ok() ? "" : status.ToString();
}

}  // namespace trireme
