// Token data in words, for `trireme inspect`. Everything is read and checked on the way.
#ifndef TRIREME_DATA_DESCRIBE_H_
#define TRIREME_DATA_DESCRIBE_H_

#include <string>

#include "absl/status/statusor.h"

namespace trireme {

// Whether `path` is a token source, a folder of train/ and validation/ sources, or a token shard, damaged or
// not.
bool IsTokenData(const std::string& path);

// What lies there: tokens, documents, vocabulary, shards, and the first text. Errors as TokenSource::Open and
// TokenFile::Open, with file and byte.
absl::StatusOr<std::string> DescribeTokenData(const std::string& path);

// Two lines: bits per byte of `validation` by the unigram and bigram counts of `training`, both folders of
// sources.
absl::StatusOr<std::string> DescribeAgainst(const std::string& training, const std::string& validation);

}  // namespace trireme

#endif  // TRIREME_DATA_DESCRIBE_H_
