#include "data/describe.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/entropy.h"
#include "data/token_file.h"
#include "data/token_source.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFirstTokens = 64;
constexpr size_t kMostShards = 8;  // listed singly

bool Exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool IsFolder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

std::string DescribeShard(const TokenFile& file) {
  const TokenHeader& header = file.header();
  return absl::StrFormat("%s: %d tokens of %d bytes, %d documents, %d blocks, checksums right", file.path(),
                         header.num_tokens, header.token_bytes, header.num_documents, header.num_blocks());
}

absl::StatusOr<std::string> DescribeFile(const std::string& path) {
  const auto file = TokenFile::Open(path);
  if (!file.ok()) return file.status();
  if (absl::Status status = (*file)->Verify(); !status.ok()) return status;
  const TokenVocabulary& vocabulary = (*file)->header().vocabulary;
  return absl::StrFormat("token shard %s\n  vocabulary of %d, document end %d, tokenizer %s\n",
                         DescribeShard(**file), vocabulary.size, vocabulary.document_end,
                         DigestHex(vocabulary.tokenizer));
}

absl::StatusOr<std::string> DescribeSource(const std::string& path) {
  const auto opened = OpenWithTokenizer(path);
  if (!opened.ok()) return opened.status();
  const TokenSource& source = *opened->source;
  if (absl::Status status = source.Verify(); !status.ok()) return status;
  const auto bytes = CountBytes(source, *opened->tokenizer, 0, source.num_tokens());
  if (!bytes.ok()) return bytes.status();
  std::vector<int32_t> first(std::min(kFirstTokens, source.num_tokens()));
  if (absl::Status status = source.Read(0, absl::MakeSpan(first)); !status.ok()) return status;
  const std::string text = opened->tokenizer->Decode(first);

  std::string words = absl::StrFormat("token source %s\n", path);
  absl::StrAppendFormat(&words, "  %d tokens in %d documents, %d bytes of text (%.3f bytes a token)\n",
                        source.num_tokens(), source.num_documents(), *bytes,
                        static_cast<double>(*bytes) / static_cast<double>(source.num_tokens()));
  absl::StrAppendFormat(&words, "  %s tokenizer, vocabulary of %d, document end %d, digest %s\n",
                        opened->tokenizer->kind(), source.vocabulary().size, source.vocabulary().document_end,
                        DigestHex(source.vocabulary().tokenizer));
  absl::StrAppendFormat(&words, "  digest of the source %s\n", DigestHex(source.digest()));
  absl::StrAppendFormat(&words, "  %d shards\n", source.files().size());
  for (size_t i = 0; i < std::min(kMostShards, source.files().size()); ++i) {
    absl::StrAppend(&words, "    ", DescribeShard(*source.files()[i]), "\n");
  }
  if (source.files().size() > kMostShards) {
    absl::StrAppendFormat(&words, "    and %d more, checksums right\n", source.files().size() - kMostShards);
  }
  absl::StrAppend(&words, "  begins \"", absl::Utf8SafeCHexEscape(text), "\"\n");
  return words;
}

}  // namespace

bool IsTokenData(const std::string& path) {
  if (!IsFolder(path)) return absl::EndsWith(path, ".tokens");
  return Exists(path + "/source.txt") || Exists(path + "/train/source.txt");
}

absl::StatusOr<std::string> DescribeTokenData(const std::string& path) {
  if (!IsFolder(path)) return DescribeFile(path);
  if (Exists(path + "/source.txt") || !Exists(path + "/train/source.txt")) return DescribeSource(path);
  std::string words;
  for (const char* part : {"/train", "/validation"}) {
    const absl::StatusOr<std::string> described = DescribeSource(path + part);
    if (!described.ok()) return described.status();
    absl::StrAppend(&words, *described);
  }
  return words;
}

absl::StatusOr<std::string> DescribeAgainst(const std::string& training, const std::string& validation) {
  const absl::StatusOr<ByteEntropy> entropy = MeasureByteEntropy(training, validation);
  if (!entropy.ok()) return entropy.status();
  return absl::StrFormat(
      "counts of %d bytes, measured on %d bytes (add-one smoothing):\n"
      "byte unigram entropy             %.3f bits per byte\n"
      "conditional byte bigram entropy  %.3f bits per byte\n",
      entropy->training_bytes, entropy->validation_bytes, entropy->unigram_bits, entropy->bigram_bits);
}

}  // namespace trireme
