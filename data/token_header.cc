#include "data/token_header.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace trireme {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the format is little endian and is read as it lies");

constexpr absl::string_view kMagic = "TRTOKENS";
constexpr uint32_t kVersion = 1;

constexpr int kVersionOffset = 8;
constexpr int kTokenBytesOffset = 12;
constexpr int kNumTokensOffset = 16;
constexpr int kNumDocumentsOffset = 24;
constexpr int kVocabSizeOffset = 32;
constexpr int kDocumentEndOffset = 40;
constexpr int kBlockBytesOffset = 48;
constexpr int kTokenizerOffset = 56;
constexpr int kTableCrcOffset = 88;
constexpr int kReservedOffset = 92;
constexpr int kHeaderCrcOffset = 124;

template <typename T>
void Put(std::string& bytes, int offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

template <typename T>
T Get(absl::string_view bytes, int64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

absl::Status BadField(const std::string& path, int offset, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrFormat("%s: byte %d: %s", path, offset, what));
}

absl::Status CheckFields(const std::string& path, const TokenHeader& header, absl::string_view bytes) {
  if (header.token_bytes != 2 && header.token_bytes != 4) {
    return BadField(path, kTokenBytesOffset,
                    absl::StrFormat("tokens of %d bytes; only 2 and 4 exist", header.token_bytes));
  }
  if (header.num_tokens < 0 || header.num_tokens > (int64_t{1} << 60)) {
    return BadField(path, kNumTokensOffset,
                    absl::StrFormat("impossible count of %d tokens", header.num_tokens));
  }
  if (header.num_documents < 0 || header.num_documents > header.num_tokens) {
    return BadField(path, kNumDocumentsOffset,
                    absl::StrFormat("impossible count of %d documents", header.num_documents));
  }
  const int64_t limit = header.token_bytes == 2 ? int64_t{65536} : kMaxVocabSize;
  if (header.vocabulary.size < 1 || header.vocabulary.size > limit) {
    return BadField(path, kVocabSizeOffset,
                    absl::StrFormat("impossible vocabulary of %d for tokens of %d bytes",
                                    header.vocabulary.size, header.token_bytes));
  }
  if (header.vocabulary.document_end < 0 || header.vocabulary.document_end >= header.vocabulary.size) {
    return BadField(path, kDocumentEndOffset,
                    absl::StrFormat("document end %d is no token of a vocabulary of %d",
                                    header.vocabulary.document_end, header.vocabulary.size));
  }
  const auto block_bytes = Get<int64_t>(bytes, kBlockBytesOffset);
  if (block_bytes != kTokenBlockBytes) {
    return BadField(path, kBlockBytesOffset,
                    absl::StrFormat("blocks of %d bytes; version 1 has %d", block_bytes, kTokenBlockBytes));
  }
  const absl::string_view reserved = bytes.substr(kReservedOffset, kHeaderCrcOffset - kReservedOffset);
  if (!std::all_of(reserved.begin(), reserved.end(), [](char c) { return c == 0; })) {
    return BadField(path, kReservedOffset, "reserved bytes are not zero");
  }
  return absl::OkStatus();
}

absl::Status CheckSizeAndTable(const std::string& path, const TokenHeader& header, absl::string_view file) {
  const auto size = static_cast<int64_t>(file.size());
  if (size < header.file_bytes()) {
    return absl::DataLossError(
        absl::StrFormat("%s: byte %d: the file ends here, cut short: its %d tokens take %d bytes", path, size,
                        header.num_tokens, header.file_bytes()));
  }
  if (size > header.file_bytes()) {
    return absl::DataLossError(absl::StrFormat("%s: byte %d: %d bytes follow where the shard should end",
                                               path, header.file_bytes(), size - header.file_bytes()));
  }
  const uint32_t crc = TokenCrc32c(file.substr(header.table_offset()));
  if (crc != header.table_crc) {
    return absl::DataLossError(absl::StrFormat(
        "%s: byte %d: the table of block checksums is damaged: CRC32C %08x, the header says %08x", path,
        header.table_offset(), crc, header.table_crc));
  }
  return absl::OkStatus();
}

}  // namespace

int TokenBytesFor(int64_t vocab_size) {
  return vocab_size <= 65536 ? 2 : 4;
}

std::string SerializeTokenHeader(TokenHeader& header) {
  std::string bytes(kTokenHeaderBytes, '\0');
  std::copy(kMagic.begin(), kMagic.end(), bytes.begin());
  Put(bytes, kVersionOffset, kVersion);
  Put(bytes, kTokenBytesOffset, static_cast<uint32_t>(header.token_bytes));
  Put(bytes, kNumTokensOffset, header.num_tokens);
  Put(bytes, kNumDocumentsOffset, header.num_documents);
  Put(bytes, kVocabSizeOffset, header.vocabulary.size);
  Put(bytes, kDocumentEndOffset, header.vocabulary.document_end);
  Put(bytes, kBlockBytesOffset, kTokenBlockBytes);
  std::copy(header.vocabulary.tokenizer.begin(), header.vocabulary.tokenizer.end(),
            bytes.begin() + kTokenizerOffset);
  Put(bytes, kTableCrcOffset, header.table_crc);
  header.header_crc = TokenCrc32c(absl::string_view(bytes).substr(0, kHeaderCrcOffset));
  Put(bytes, kHeaderCrcOffset, header.header_crc);
  return bytes;
}

absl::StatusOr<TokenHeader> ParseTokenHeader(const std::string& path, absl::string_view file) {
  const auto size = static_cast<int64_t>(file.size());
  if (size < kTokenHeaderBytes) {
    return absl::DataLossError(absl::StrFormat("%s: byte %d: the file ends inside the header of %d bytes",
                                               path, size, kTokenHeaderBytes));
  }
  const absl::string_view bytes = file.substr(0, kTokenHeaderBytes);
  if (bytes.substr(0, kMagic.size()) != kMagic) {
    return BadField(path, 0, "no token shard: it does not begin with \"TRTOKENS\"");
  }
  TokenHeader header;
  header.header_crc = TokenCrc32c(bytes.substr(0, kHeaderCrcOffset));
  const auto stored_crc = Get<uint32_t>(bytes, kHeaderCrcOffset);
  if (header.header_crc != stored_crc) {
    return absl::DataLossError(
        absl::StrFormat("%s: byte 0: the header (bytes 0 to 127) is damaged: CRC32C %08x, byte %d says %08x",
                        path, header.header_crc, kHeaderCrcOffset, stored_crc));
  }
  const auto version = Get<uint32_t>(bytes, kVersionOffset);
  if (version != kVersion) {
    return BadField(path, kVersionOffset,
                    absl::StrFormat("format version %d; this program reads version %d", version, kVersion));
  }
  header.token_bytes = static_cast<int>(Get<uint32_t>(bytes, kTokenBytesOffset));
  header.num_tokens = Get<int64_t>(bytes, kNumTokensOffset);
  header.num_documents = Get<int64_t>(bytes, kNumDocumentsOffset);
  header.vocabulary.size = Get<int64_t>(bytes, kVocabSizeOffset);
  header.vocabulary.document_end = Get<int64_t>(bytes, kDocumentEndOffset);
  std::memcpy(header.vocabulary.tokenizer.data(), bytes.data() + kTokenizerOffset,
              header.vocabulary.tokenizer.size());
  header.table_crc = Get<uint32_t>(bytes, kTableCrcOffset);
  if (absl::Status status = CheckFields(path, header, bytes); !status.ok()) return status;
  if (absl::Status status = CheckSizeAndTable(path, header, file); !status.ok()) return status;
  return header;
}

}  // namespace trireme
