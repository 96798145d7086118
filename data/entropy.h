// How far counting bytes alone goes: the yardsticks that a model's loss stands beside.
#ifndef TRIREME_DATA_ENTROPY_H_
#define TRIREME_DATA_ENTROPY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "data/token_source.h"
#include "data/tokenizer.h"

namespace trireme {

struct ByteEntropy {
  int64_t training_bytes = 0;
  int64_t validation_bytes = 0;
  // Mean over the validation bytes of -log2 p(byte), with p from the training bytes. Add-one smoothing: p =
  // (count + 1) / (total + 256), so that what was never seen costs a finite number of bits. Document ends are
  // not counted.
  double unigram_bits = 0;
  double bigram_bits = 0;  // given the byte before; the first byte of a document has a context of its own
};

// Folders of two token sources, which may have different tokenizers: what is counted are the decoded bytes.
// Errors as TokenSource::Open and LoadTokenizer; InvalidArgument where one holds no byte.
absl::StatusOr<ByteEntropy> MeasureByteEntropy(const std::string& training, const std::string& validation);

// Bytes of text that tokens [first, first + count) of a source decode to. A mean loss in nats over these
// tokens, times count / ln 2 / bytes, is bits per byte.
absl::StatusOr<int64_t> CountBytes(const TokenSource& source, const Tokenizer& tokenizer, int64_t first,
                                   int64_t count);

// Opens a source and the tokenizer in its folder, and checks that they belong together.
struct SourceWithTokenizer {
  std::shared_ptr<const TokenSource> source;
  std::shared_ptr<const Tokenizer> tokenizer;
};
absl::StatusOr<SourceWithTokenizer> OpenWithTokenizer(const std::string& directory);

}  // namespace trireme

#endif  // TRIREME_DATA_ENTROPY_H_
