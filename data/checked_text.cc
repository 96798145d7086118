#include "data/checked_text.h"

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "data/digest.h"
#include "data/mapped_file.h"

namespace trireme {
namespace {

constexpr size_t kChecksumLineBytes = sizeof("crc32c 01234567\n") - 1;
constexpr size_t kMaxBytes = size_t{64} << 20;

std::string ChecksumLine(absl::string_view body) {
  return absl::StrFormat("crc32c %08x\n", TokenCrc32c(body));
}

}  // namespace

std::string WithChecksumLine(std::string body) {
  body += ChecksumLine(body);
  return body;
}

absl::StatusOr<std::vector<std::vector<std::string>>> ReadCheckedText(const std::string& path,
                                                                      absl::string_view title) {
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  const absl::string_view text = file->bytes();
  if (!absl::StartsWith(text, absl::StrCat(title, "\n"))) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: byte 0: the first line is not \"%s\": another kind or version of file, or damaged", path,
        title));
  }
  if (text.size() > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: %d bytes, too large for its kind", path, text.size()));
  }
  if (text.size() < title.size() + 1 + kChecksumLineBytes) {
    return absl::DataLossError(
        absl::StrFormat("%s: byte %d: the file ends here, cut short", path, text.size()));
  }
  absl::string_view body = text.substr(0, text.size() - kChecksumLineBytes);
  const absl::string_view last_line = text.substr(body.size());
  if (last_line != ChecksumLine(body)) {
    return absl::DataLossError(
        absl::StrFormat("%s: byte %d: the file is damaged: its last line should be \"%s\"", path, body.size(),
                        absl::StripSuffix(ChecksumLine(body), "\n")));
  }
  std::vector<std::vector<std::string>> lines;
  body.remove_prefix(title.size() + 1);
  for (absl::string_view line : absl::StrSplit(body, '\n', absl::SkipEmpty())) {
    lines.push_back(absl::StrSplit(line, ' '));
  }
  return lines;
}

}  // namespace trireme
