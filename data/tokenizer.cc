#include "data/tokenizer.h"

#include <array>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "data/bpe_tokenizer.h"
#include "data/checked_text.h"
#include "data/mapped_file.h"
#include "data/output_directory.h"

namespace trireme {
namespace {

constexpr absl::string_view kTitle = "trireme tokenizer 1";
constexpr absl::string_view kTextName = "tokenizer.txt";
constexpr absl::string_view kModelName = "tokenizer.model";

class ByteTokenizer : public Tokenizer {
 public:
  ByteTokenizer() : digest_(DigestOf("trireme byte tokenizer: 0 to 255 are bytes, 256 ends a document")) {
    for (int i = 0; i < 256; ++i) bytes_[i] = static_cast<char>(i);
  }

  std::string kind() const override { return "byte"; }
  int64_t vocab_size() const override { return 257; }
  int32_t document_end() const override { return 256; }
  const TokenDigest& digest() const override { return digest_; }
  absl::string_view model() const override { return ""; }

  void Encode(absl::string_view text, std::vector<int32_t>* ids) const override {
    ids->reserve(ids->size() + text.size());
    for (const char c : text) ids->push_back(static_cast<unsigned char>(c));
  }

  absl::string_view TokenBytes(int32_t id) const override {
    if (id < 0 || id > 255) return "";
    return absl::string_view(&bytes_[id], 1);
  }

 private:
  TokenDigest digest_;
  std::array<char, 256> bytes_;
};

absl::StatusOr<std::shared_ptr<const Tokenizer>> LoadBpeFile(const std::string& path) {
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  absl::StatusOr<std::shared_ptr<const Tokenizer>> tokenizer = MakeBpeTokenizer(file->bytes());
  if (!tokenizer.ok()) {
    return absl::Status(tokenizer.status().code(), absl::StrCat(path, ": ", tokenizer.status().message()));
  }
  return tokenizer;
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> LoadKind(const std::string& kind,
                                                          const std::string& directory) {
  if (kind == "byte") return MakeByteTokenizer();
  if (kind == "bpe") return LoadBpeFile(absl::StrCat(directory, "/", kModelName));
  return absl::InvalidArgumentError(
      absl::StrCat(directory, "/", kTextName, ": unknown kind of tokenizer \"", kind, "\""));
}

}  // namespace

std::string Tokenizer::Decode(absl::Span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) absl::StrAppend(&text, TokenBytes(id));
  return text;
}

std::shared_ptr<const Tokenizer> MakeByteTokenizer() {
  return std::make_shared<ByteTokenizer>();
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> TokenizerFromSpec(const std::string& spec) {
  absl::string_view rest = spec;
  if (rest == "byte") return MakeByteTokenizer();
  if (absl::ConsumePrefix(&rest, "bpe:") && !rest.empty()) return LoadBpeFile(std::string(rest));
  return absl::InvalidArgumentError(absl::StrCat(
      "tokenizer \"", spec, "\" is unknown; choose byte, or bpe:FILE with a SentencePiece model"));
}

absl::Status SaveTokenizer(const Tokenizer& tokenizer, const std::string& directory) {
  if (!tokenizer.model().empty()) {
    absl::Status status = WriteNewFile(absl::StrCat(directory, "/", kModelName), tokenizer.model());
    if (!status.ok()) return status;
  }
  const std::string body = absl::StrCat(kTitle, "\nkind ", tokenizer.kind(), "\nvocabulary ",
                                        tokenizer.vocab_size(), "\ndocument_end ", tokenizer.document_end(),
                                        "\ndigest ", DigestHex(tokenizer.digest()), "\n");
  return WriteNewFile(absl::StrCat(directory, "/", kTextName), WithChecksumLine(body));
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> LoadTokenizer(const std::string& directory_or_file) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory_or_file, error)) return LoadBpeFile(directory_or_file);
  const std::string path = absl::StrCat(directory_or_file, "/", kTextName);
  const auto lines = ReadCheckedText(path, kTitle);
  if (!lines.ok()) return lines.status();
  std::string kind;
  std::string digest;
  for (const std::vector<std::string>& words : *lines) {
    if (words.size() == 2 && words[0] == "kind") kind = words[1];
    if (words.size() == 2 && words[0] == "digest") digest = words[1];
  }
  auto tokenizer = LoadKind(kind, directory_or_file);
  if (!tokenizer.ok()) return tokenizer.status();
  if (DigestHex((*tokenizer)->digest()) != digest) {
    return absl::DataLossError(absl::StrCat(directory_or_file, "/", kModelName,
                                            ": byte 0: damaged or exchanged: its digest is ",
                                            DigestHex((*tokenizer)->digest()), ", ", path, " says ", digest));
  }
  return tokenizer;
}

}  // namespace trireme
