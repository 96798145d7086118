// Text to token ids and back, without loss: decoding gives the encoded bytes, whatever they were.
#ifndef TRIREME_DATA_TOKENIZER_H_
#define TRIREME_DATA_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/digest.h"

namespace trireme {

// Immutable and thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // "byte" or "bpe".
  virtual std::string kind() const = 0;
  // Ids are below it.
  virtual int64_t vocab_size() const = 0;
  // The id behind each document; Encode() never gives it.
  virtual int32_t document_end() const = 0;
  // Equal digests: the same ids for the same text.
  virtual const TokenDigest& digest() const = 0;
  // What a file keeps beside the kind; empty for "byte".
  virtual absl::string_view model() const = 0;

  // Appends the ids of any bytes. Text that is cut behind a line end gives the ids of the whole.
  virtual void Encode(absl::string_view text, std::vector<int32_t>* ids) const = 0;
  // The bytes that an id stands for, living as long as the tokenizer; none for document_end() and for ids
  // that do not exist, which a model with a padded vocabulary may give.
  virtual absl::string_view TokenBytes(int32_t id) const = 0;

  std::string Decode(absl::Span<const int32_t> ids) const;
};

// Ids 0 to 255 are bytes, 256 ends a document.
std::shared_ptr<const Tokenizer> MakeByteTokenizer();

// What a user writes: "byte" or "bpe:FILE" (a SentencePiece model, see bpe_tokenizer.h). InvalidArgument for
// anything else, with the choices.
absl::StatusOr<std::shared_ptr<const Tokenizer>> TokenizerFromSpec(const std::string& spec);

// Writes into an existing folder tokenizer.txt and, where there is one, tokenizer.model, both durable.
// Neither may exist.
absl::Status SaveTokenizer(const Tokenizer& tokenizer, const std::string& directory);

// Reads what SaveTokenizer wrote, or a SentencePiece model file. DataLoss names the damaged file and byte.
absl::StatusOr<std::shared_ptr<const Tokenizer>> LoadTokenizer(const std::string& directory_or_file);

}  // namespace trireme

#endif  // TRIREME_DATA_TOKENIZER_H_
