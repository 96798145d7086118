// Writes one token shard, streaming. Format: FORMAT.md.
#ifndef TRIREME_DATA_TOKEN_WRITER_H_
#define TRIREME_DATA_TOKEN_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/token_header.h"

namespace trireme {

// Holds one block in memory. Not thread-safe. Until Finish() the file has no valid header; a writer that is
// destroyed before removes its file.
class TokenWriter {
 public:
  // Makes `path`, which must not exist (AlreadyExists).
  static absl::StatusOr<std::unique_ptr<TokenWriter>> Create(std::string path,
                                                             const TokenVocabulary& vocabulary);
  ~TokenWriter();
  TokenWriter(const TokenWriter&) = delete;
  TokenWriter& operator=(const TokenWriter&) = delete;

  // Tokens must lie in the vocabulary. Errors: what the disk says, with the path.
  absl::Status Append(absl::Span<const int32_t> tokens);

  // Writes the table and the header and makes the file durable (fsync; the folder is the caller's to sync).
  absl::StatusOr<TokenHeader> Finish();

  int64_t num_tokens() const { return header_.num_tokens; }

 private:
  TokenWriter(std::string path, int fd, const TokenVocabulary& vocabulary);
  absl::Status WriteBlock();

  std::string path_;
  int fd_;
  TokenHeader header_;
  int64_t offset_ = kTokenHeaderBytes;
  std::string block_;
  std::string table_;
};

}  // namespace trireme

#endif  // TRIREME_DATA_TOKEN_WRITER_H_
