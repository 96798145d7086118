// The header of a token shard: 128 bytes, see FORMAT.md.
#ifndef TRIREME_DATA_TOKEN_HEADER_H_
#define TRIREME_DATA_TOKEN_HEADER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/digest.h"

namespace trireme {

inline constexpr int64_t kTokenHeaderBytes = 128;
inline constexpr int64_t kTokenBlockBytes =
    65536;  // of payload under one CRC32C; the last block may be shorter
inline constexpr int64_t kTokenCrcBytes = 4;
inline constexpr int64_t kMaxVocabSize = int64_t{1} << 31;

// What tokens mean.
struct TokenVocabulary {
  int64_t size = 0;            // every token is below it
  int64_t document_end = 0;    // the id that closes each document
  TokenDigest tokenizer = {};  // Tokenizer::digest()

  bool operator==(const TokenVocabulary&) const = default;
};

struct TokenHeader {
  int token_bytes = 2;        // 2 or 4
  int64_t num_tokens = 0;     // document ends included
  int64_t num_documents = 0;  // tokens that equal the document end
  TokenVocabulary vocabulary;
  uint32_t table_crc = 0;  // of the table of block checksums
  uint32_t header_crc =
      0;  // of the header's first 124 bytes; as all else hangs on it, it identifies the shard

  int64_t payload_bytes() const { return num_tokens * token_bytes; }
  int64_t num_blocks() const { return (payload_bytes() + kTokenBlockBytes - 1) / kTokenBlockBytes; }
  int64_t table_offset() const { return kTokenHeaderBytes + payload_bytes(); }
  int64_t file_bytes() const { return table_offset() + num_blocks() * kTokenCrcBytes; }
};

// Bytes that a token takes: 2 for vocabularies of up to 65,536 tokens, otherwise 4.
int TokenBytesFor(int64_t vocab_size);

// The 128 bytes of `header`, whose header_crc is set to what they carry.
std::string SerializeTokenHeader(TokenHeader& header);

// Reads the header of a whole shard and checks it, the size of the file and the table's checksum; not the
// payload. Errors begin with `path` and a byte offset: InvalidArgument for a file that is no shard of a known
// version, DataLoss for a damaged, cut or extended one.
absl::StatusOr<TokenHeader> ParseTokenHeader(const std::string& path, absl::string_view file);

}  // namespace trireme

#endif  // TRIREME_DATA_TOKEN_HEADER_H_
