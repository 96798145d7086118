// A token source: a folder of token shards, read as one long row of tokens. Format: FORMAT.md.
#ifndef TRIREME_DATA_TOKEN_SOURCE_H_
#define TRIREME_DATA_TOKEN_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/token_file.h"
#include "data/token_header.h"

namespace trireme {

inline constexpr char kSourceTitle[] = "trireme token source 1";
inline constexpr char kSourceFileName[] = "source.txt";

// Immutable and thread-safe. Opening touches source.txt and the headers of the shards, whatever their size;
// the rest is checked when it is read.
class TokenSource {
 public:
  // Errors name the file and the byte: NotFound for a folder without a source, InvalidArgument for what is no
  // source, DataLoss for one that is damaged or whose shards are missing, exchanged or surplus.
  static absl::StatusOr<std::shared_ptr<const TokenSource>> Open(const std::string& directory);

  const std::string& directory() const { return directory_; }
  const TokenVocabulary& vocabulary() const { return vocabulary_; }
  const std::vector<std::unique_ptr<TokenFile>>& files() const { return files_; }
  int64_t num_tokens() const { return starts_.back(); }
  int64_t num_documents() const { return num_documents_; }
  // Equal digests: equal tokens in equal shards.
  const TokenDigest& digest() const { return digest_; }

  // floor((num_tokens - 1) / sequence_length): window i has inputs [i T, i T + T), its labels lie one
  // further.
  int64_t NumWindows(int64_t sequence_length) const;

  // Copies tokens [first, first + tokens.size()), which must exist, over the borders of shards.
  absl::Status Read(int64_t first, absl::Span<int32_t> tokens) const;

  // Reads and checks everything.
  absl::Status Verify() const;

 private:
  TokenSource() = default;
  absl::Status OpenShards(const std::vector<std::vector<std::string>>& lines);
  absl::Status OpenShard(const std::vector<std::string>& words);
  absl::Status CheckTotals(int64_t num_tokens, int64_t num_documents) const;
  absl::Status RefuseSurplusShards() const;

  std::string directory_;
  TokenVocabulary vocabulary_;
  std::vector<std::unique_ptr<TokenFile>> files_;
  std::vector<int64_t> starts_ = {0};  // first token of each file, then the number of tokens
  int64_t num_documents_ = 0;
  TokenDigest digest_ = {};
};

}  // namespace trireme

#endif  // TRIREME_DATA_TOKEN_SOURCE_H_
