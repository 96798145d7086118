// Small text files whose last line is the CRC32C of all before it: tokenizer.txt and source.txt, see
// FORMAT.md.
#ifndef TRIREME_DATA_CHECKED_TEXT_H_
#define TRIREME_DATA_CHECKED_TEXT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trireme {

// `body` must end in a line end. Returns it with the line "crc32c XXXXXXXX" behind it.
std::string WithChecksumLine(std::string body);

// Reads a file, checks its first line (`title`) and the checksum, and returns the lines between, each split
// at its spaces. InvalidArgument for another kind of file, DataLoss for a damaged one, with path and byte.
absl::StatusOr<std::vector<std::vector<std::string>>> ReadCheckedText(const std::string& path,
                                                                      absl::string_view title);

}  // namespace trireme

#endif  // TRIREME_DATA_CHECKED_TEXT_H_
