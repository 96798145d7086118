// SentencePiece behind plain standard types: its header puts std::string_view into namespace absl and so
// cannot stand in a file with Abseil. Errors are texts here, empty for success; the caller makes them
// absl::Status.
#ifndef TRIREME_DATA_SENTENCEPIECE_MODEL_H_
#define TRIREME_DATA_SENTENCEPIECE_MODEL_H_

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

// A loaded model. Thread-safe. Source: arXiv:1808.06226.
class SentencePieceModel {
 public:
  // `serialized` is a model file's content.
  static std::string Load(std::string_view serialized, std::unique_ptr<SentencePieceModel>* model);
  ~SentencePieceModel();

  // What each id stands for: a byte, or text with its spaces; empty for control symbols and the unknown
  // piece.
  const std::vector<std::string>& pieces() const { return pieces_; }
  // The id of each single byte; -1 where the model has none.
  const std::array<int, 256>& byte_ids() const { return byte_ids_; }
  // The id of the end-of-sentence symbol; -1 for none.
  int end_id() const;

  std::string Encode(std::string_view text, std::vector<int>* ids) const;

 private:
  struct Processor;
  SentencePieceModel();

  std::unique_ptr<Processor> processor_;
  std::vector<std::string> pieces_;
  std::array<int, 256> byte_ids_;
};

// Trains byte-pair encoding on `sentences` (UTF-8 without line ends, zero bytes or U+2581), with all 256
// bytes as pieces, id 0 unknown and id 1 the end symbol; nothing in a text is normalised. The vocabulary may
// come out smaller than asked for where the text has no more pairs. The same sentences give the same bytes.
std::string TrainSentencePiece(const std::vector<std::string>& sentences, int vocab_size,
                               std::string* serialized);

}  // namespace trireme

#endif  // TRIREME_DATA_SENTENCEPIECE_MODEL_H_
