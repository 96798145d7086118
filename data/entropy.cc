#include "data/entropy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

constexpr int64_t kChunkTokens = int64_t{1} << 16;
constexpr int kDocumentStart = 256;  // context of a document's first byte

// Calls `visit` with each token of a range.
absl::Status ForEachToken(const TokenSource& source, int64_t first, int64_t count,
                          const std::function<void(int32_t)>& visit) {
  std::vector<int32_t> tokens;
  for (int64_t end = first + count; first < end; first += static_cast<int64_t>(tokens.size())) {
    tokens.resize(std::min(kChunkTokens, end - first));
    if (absl::Status status = source.Read(first, absl::MakeSpan(tokens)); !status.ok()) return status;
    std::for_each(tokens.begin(), tokens.end(), visit);
  }
  return absl::OkStatus();
}

struct ByteCounts {
  std::vector<std::array<int64_t, 256>> after = std::vector<std::array<int64_t, 256>>(kDocumentStart + 1);

  std::array<int64_t, 256> Unigrams() const {
    std::array<int64_t, 256> sums = {};
    for (const auto& row : after) {
      for (int byte = 0; byte < 256; ++byte) sums[byte] += row[byte];
    }
    return sums;
  }
};

int64_t Sum(const std::array<int64_t, 256>& counts) {
  int64_t sum = 0;
  for (const int64_t count : counts) sum += count;
  return sum;
}

// Bits that `measured` costs under the smoothed distribution of `counted`.
double Bits(const std::array<int64_t, 256>& counted, const std::array<int64_t, 256>& measured) {
  const double total = static_cast<double>(Sum(counted)) + 256;
  double bits = 0;
  for (int byte = 0; byte < 256; ++byte) {
    if (measured[byte] == 0) continue;
    bits -= static_cast<double>(measured[byte]) * std::log2((static_cast<double>(counted[byte]) + 1) / total);
  }
  return bits;
}

absl::StatusOr<ByteCounts> CountPairs(const std::string& directory) {
  const absl::StatusOr<SourceWithTokenizer> opened = OpenWithTokenizer(directory);
  if (!opened.ok()) return opened.status();
  const auto& [source, tokenizer] = *opened;
  ByteCounts counts;
  int context = kDocumentStart;
  const int32_t document_end = tokenizer->document_end();
  absl::Status status =
      ForEachToken(*source, 0, source->num_tokens(), [&, &tokens = *tokenizer](int32_t token) {
        for (const char c : tokens.TokenBytes(token)) {
          const auto byte = static_cast<unsigned char>(c);
          ++counts.after[context][byte];
          context = byte;
        }
        if (token == document_end) context = kDocumentStart;
      });
  if (!status.ok()) return status;
  return counts;
}

}  // namespace

absl::StatusOr<SourceWithTokenizer> OpenWithTokenizer(const std::string& directory) {
  auto source = TokenSource::Open(directory);
  if (!source.ok()) return source.status();
  auto tokenizer = LoadTokenizer(directory);
  if (!tokenizer.ok()) return tokenizer.status();
  const TokenVocabulary& vocabulary = (*source)->vocabulary();
  if ((*tokenizer)->digest() != vocabulary.tokenizer || (*tokenizer)->vocab_size() != vocabulary.size ||
      (*tokenizer)->document_end() != vocabulary.document_end) {
    return absl::DataLossError(
        absl::StrCat(directory, "/tokenizer.txt: byte 0: not the tokenizer that the shards were made with"));
  }
  return SourceWithTokenizer{*std::move(source), *std::move(tokenizer)};
}

absl::StatusOr<ByteEntropy> MeasureByteEntropy(const std::string& training, const std::string& validation) {
  const absl::StatusOr<ByteCounts> counted = CountPairs(training);
  if (!counted.ok()) return counted.status();
  const absl::StatusOr<ByteCounts> measured = CountPairs(validation);
  if (!measured.ok()) return measured.status();
  ByteEntropy entropy;
  entropy.training_bytes = Sum(counted->Unigrams());
  entropy.validation_bytes = Sum(measured->Unigrams());
  if (entropy.training_bytes == 0 || entropy.validation_bytes == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(entropy.training_bytes == 0 ? training : validation, ": holds no byte of text"));
  }
  const auto bytes = static_cast<double>(entropy.validation_bytes);
  entropy.unigram_bits = Bits(counted->Unigrams(), measured->Unigrams()) / bytes;
  for (int context = 0; context <= kDocumentStart; ++context) {
    entropy.bigram_bits += Bits(counted->after[context], measured->after[context]) / bytes;
  }
  return entropy;
}

absl::StatusOr<int64_t> CountBytes(const TokenSource& source, const Tokenizer& tokenizer, int64_t first,
                                   int64_t count) {
  int64_t bytes = 0;
  absl::Status status = ForEachToken(source, first, count, [&](int32_t token) {
    bytes += static_cast<int64_t>(tokenizer.TokenBytes(token).size());
  });
  if (!status.ok()) return status;
  return bytes;
}

}  // namespace trireme
