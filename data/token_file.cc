#include "data/token_file.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

namespace trireme {
namespace {

template <typename T>
void Widen(const char* bytes, absl::Span<int32_t> tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    T token;
    std::memcpy(&token, bytes + i * sizeof(T), sizeof(T));
    tokens[i] = static_cast<int32_t>(token);
  }
}

// Index of the first token that is not below `limit`; `count` if there is none.
template <typename T>
int64_t FirstAtLeast(const char* bytes, int64_t count, int64_t limit) {
  for (int64_t i = 0; i < count; ++i) {
    T token;
    std::memcpy(&token, bytes + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    if (token >= limit) return i;
  }
  return count;
}

}  // namespace

TokenFile::TokenFile(MappedFile file, const TokenHeader& header)
    : file_(std::move(file)),
      header_(header),
      checked_(std::make_unique<std::atomic<bool>[]>(static_cast<size_t>(header.num_blocks()))) {}

absl::StatusOr<std::unique_ptr<TokenFile>> TokenFile::Open(const std::string& path) {
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  const absl::StatusOr<TokenHeader> header = ParseTokenHeader(path, file->bytes());
  if (!header.ok()) return header.status();
  return std::unique_ptr<TokenFile>(new TokenFile(*std::move(file), *header));
}

absl::Status TokenFile::CheckBlock(int64_t block) const {
  if (checked_[block].load(std::memory_order_relaxed)) return absl::OkStatus();
  const int64_t offset = kTokenHeaderBytes + block * kTokenBlockBytes;
  const int64_t size = std::min(kTokenBlockBytes, header_.table_offset() - offset);
  const absl::string_view bytes = file_.bytes().substr(offset, size);
  uint32_t expected;
  std::memcpy(&expected, file_.bytes().data() + header_.table_offset() + block * kTokenCrcBytes,
              sizeof(expected));
  const uint32_t crc = TokenCrc32c(bytes);
  if (crc != expected) {
    return absl::DataLossError(absl::StrFormat(
        "%s: byte %d: the %d bytes of tokens from here are damaged: CRC32C %08x, the table says %08x", path(),
        offset, size, crc, expected));
  }
  const int64_t count = size / header_.token_bytes;
  const int64_t bad = header_.token_bytes == 2
                          ? FirstAtLeast<uint16_t>(bytes.data(), count, header_.vocabulary.size)
                          : FirstAtLeast<uint32_t>(bytes.data(), count, header_.vocabulary.size);
  if (bad < count) {
    return absl::DataLossError(absl::StrFormat("%s: byte %d: a token outside the vocabulary of %d", path(),
                                               offset + bad * header_.token_bytes, header_.vocabulary.size));
  }
  checked_[block].store(true, std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::Status TokenFile::Read(int64_t first, absl::Span<int32_t> tokens) const {
  if (tokens.empty()) return absl::OkStatus();
  const int64_t end = first + static_cast<int64_t>(tokens.size());
  CHECK(first >= 0 && end <= num_tokens())
      << path() << ": " << first << ", " << end << " of " << num_tokens();
  const int64_t last_block = (end * header_.token_bytes - 1) / kTokenBlockBytes;
  for (int64_t block = first * header_.token_bytes / kTokenBlockBytes; block <= last_block; ++block) {
    if (absl::Status status = CheckBlock(block); !status.ok()) return status;
  }
  const char* bytes = file_.bytes().data() + kTokenHeaderBytes + first * header_.token_bytes;
  if (header_.token_bytes == 2) {
    Widen<uint16_t>(bytes, tokens);
  } else {
    Widen<uint32_t>(bytes, tokens);
  }
  return absl::OkStatus();
}

absl::Status TokenFile::Verify() const {
  std::vector<int32_t> tokens(kTokenBlockBytes / header_.token_bytes);
  int64_t documents = 0;
  for (int64_t first = 0; first < num_tokens(); first += static_cast<int64_t>(tokens.size())) {
    tokens.resize(std::min(static_cast<int64_t>(tokens.size()), num_tokens() - first));
    if (absl::Status status = Read(first, absl::MakeSpan(tokens)); !status.ok()) return status;
    documents +=
        std::count(tokens.begin(), tokens.end(), static_cast<int32_t>(header_.vocabulary.document_end));
  }
  if (documents != header_.num_documents) {
    return absl::DataLossError(
        absl::StrFormat("%s: byte 24: the header counts %d documents, the tokens hold %d", path(),
                        header_.num_documents, documents));
  }
  return absl::OkStatus();
}

}  // namespace trireme
