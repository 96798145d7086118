#include "checkpoint/commit_record.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "checkpoint/checksum.h"

namespace trireme {
namespace {

// The value of a line "key value"; "" where it is of another form.
absl::string_view ValueOf(const std::vector<absl::string_view>& lines, size_t line, absl::string_view key) {
  if (line >= lines.size()) return "";
  absl::string_view text = lines[line];
  if (!absl::ConsumePrefix(&text, key) || !absl::ConsumePrefix(&text, " ")) return "";
  return text;
}

bool IsHex(absl::string_view text, size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isdigit(static_cast<unsigned char>(c)) || (c >= 'a' && c <= 'f');
         });
}

}  // namespace

std::string Encode(RecordKind kind, const CommitRecord& record) {
  std::string text = kind == RecordKind::kCommit ? "trireme commit 1\n" : "trireme latest 1\n";
  absl::StrAppend(&text, "directory ", record.directory, "\nstep ", record.step, "\nsequence ",
                  record.sequence, "\nmanifest_bytes ", record.manifest_bytes, "\nmanifest_sha256 ",
                  record.manifest_sha256, "\n");
  absl::StrAppendFormat(&text, "crc32c %08x\n", Crc32c(text));
  return text;
}

absl::StatusOr<CommitRecord> Decode(RecordKind kind, absl::string_view text, const std::string& path) {
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  CommitRecord record;
  record.directory = std::string(ValueOf(lines, 1, "directory"));
  record.manifest_sha256 = std::string(ValueOf(lines, 5, "manifest_sha256"));
  bool valid = IsCheckpointDirectoryName(record.directory) && IsHex(record.manifest_sha256, 64);
  valid = absl::SimpleAtoi(ValueOf(lines, 2, "step"), &record.step) && record.step >= 0 && valid;
  valid = absl::SimpleAtoi(ValueOf(lines, 3, "sequence"), &record.sequence) && valid;
  valid = absl::SimpleAtoi(ValueOf(lines, 4, "manifest_bytes"), &record.manifest_bytes) &&
          record.manifest_bytes >= 0 && valid;
  const std::string expected = Encode(kind, record);
  if (valid && text == absl::string_view(expected)) return record;
  const size_t common = std::min(text.size(), expected.size());
  const size_t differs =
      std::mismatch(text.begin(), text.begin() + common, expected.begin()).first - text.begin();
  return absl::DataLossError(absl::StrCat(path, ": damaged: byte ", differs, " of ", text.size(),
                                          " is the first that does not fit the others"));
}

std::string CheckpointDirectoryName(int64_t step, uint32_t attempt) {
  return absl::StrFormat("step-%08d-%08x", step, attempt);
}

bool IsCheckpointDirectoryName(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, "step-")) return false;
  const size_t dash = name.find('-');
  if (dash == absl::string_view::npos || dash < 8 || dash > 19) return false;
  const absl::string_view step = name.substr(0, dash);
  return std::all_of(step.begin(), step.end(),
                     [](char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }) &&
         IsHex(name.substr(dash + 1), 8);
}

}  // namespace trireme
