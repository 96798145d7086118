// Reads one token shard. Format: FORMAT.md.
#ifndef TRIREME_DATA_TOKEN_FILE_H_
#define TRIREME_DATA_TOKEN_FILE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/mapped_file.h"
#include "data/token_header.h"

namespace trireme {

// Maps the file; opening reads the header and the table of checksums only. Every block is checked (checksum,
// tokens below the vocabulary size) when it is first read. Thread-safe. Errors begin with the path and a byte
// offset; DataLoss for damage, InvalidArgument for what is no shard.
class TokenFile {
 public:
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const TokenHeader& header() const { return header_; }
  int64_t num_tokens() const { return header_.num_tokens; }

  // Copies tokens [first, first + tokens.size()), which must exist.
  absl::Status Read(int64_t first, absl::Span<int32_t> tokens) const;

  // Checks every block and the count of documents.
  absl::Status Verify() const;

 private:
  TokenFile(MappedFile file, const TokenHeader& header);
  absl::Status CheckBlock(int64_t block) const;

  MappedFile file_;
  TokenHeader header_;
  std::unique_ptr<std::atomic<bool>[]> checked_;  // one a block
};

}  // namespace trireme

#endif  // TRIREME_DATA_TOKEN_FILE_H_
