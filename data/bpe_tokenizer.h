// Byte-pair encoding by SentencePiece (arXiv:1808.06226), made lossless: what a model cannot give back
// exactly is written as single bytes.
#ifndef TRIREME_DATA_BPE_TOKENIZER_H_
#define TRIREME_DATA_BPE_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/tokenizer.h"

namespace trireme {

// From a model file's content. The model needs a piece for every byte (byte_fallback), an end-of-sentence
// symbol, and must leave text as it is (identity normalisation, no dummy prefix, no removed spaces):
// InvalidArgument otherwise, naming the option.
absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeBpeTokenizer(absl::string_view model);

// The stretches of `text` that SentencePiece is given, as views of it: valid UTF-8 without line ends, zero
// bytes and its space mark U+2581. What lies between them is encoded byte by byte.
std::vector<absl::string_view> PlainStretches(absl::string_view text);

// Trains a model of at most `vocab_size` pieces on `texts`; returns a model file's content, the same for the
// same texts. InvalidArgument where the size does not fit (too small for the bytes and letters) or the texts
// are empty.
absl::StatusOr<std::string> TrainBpeModel(const std::vector<std::string>& texts, int64_t vocab_size);

}  // namespace trireme

#endif  // TRIREME_DATA_BPE_TOKENIZER_H_
