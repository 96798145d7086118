// Writes a token source: shards, the tokenizer, and source.txt that names them. Format: FORMAT.md.
#ifndef TRIREME_DATA_SOURCE_WRITER_H_
#define TRIREME_DATA_SOURCE_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "data/token_writer.h"
#include "data/tokenizer.h"

namespace trireme {

// Not thread-safe. The folder counts as a source only once Finish() succeeded: source.txt is written last.
class SourceWriter {
 public:
  // `directory` must exist and be empty. Each shard but the last has `shard_tokens` tokens (> 0).
  SourceWriter(std::string directory, std::shared_ptr<const Tokenizer> tokenizer, int64_t shard_tokens);

  absl::Status Append(absl::Span<const int32_t> tokens);

  // A source without a single token is InvalidArgument.
  absl::Status Finish();

  int64_t num_tokens() const { return num_tokens_; }
  int64_t num_shards() const { return num_shards_; }

 private:
  absl::Status OpenShard();
  absl::Status CloseShard();

  std::string directory_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  int64_t shard_tokens_;
  std::unique_ptr<TokenWriter> shard_;  // null between shards
  std::string shard_name_;
  std::string shard_lines_;
  int64_t num_shards_ = 0;
  int64_t num_tokens_ = 0;
  int64_t num_documents_ = 0;
};

}  // namespace trireme

#endif  // TRIREME_DATA_SOURCE_WRITER_H_
