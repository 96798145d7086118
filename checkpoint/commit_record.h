// The two small text files that make a checkpoint one: COMMIT in its directory and LATEST beside the
// directories. Byte by byte in FORMAT.md.
#ifndef TRIREME_CHECKPOINT_COMMIT_RECORD_H_
#define TRIREME_CHECKPOINT_COMMIT_RECORD_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trireme {

inline constexpr char kManifestName[] = "MANIFEST";
inline constexpr char kCommitName[] = "COMMIT";
inline constexpr char kLatestName[] = "LATEST";

enum class RecordKind { kCommit, kLatest };

struct CommitRecord {
  std::string directory;  // "step-00123400-a7f3c91e"
  int64_t step = 0;
  uint64_t sequence = 0;  // counts the run's saves
  int64_t manifest_bytes = 0;
  std::string manifest_sha256;  // 64 lower-case hexadecimal digits

  bool operator==(const CommitRecord& other) const {
    return directory == other.directory && step == other.step && sequence == other.sequence &&
           manifest_bytes == other.manifest_bytes && manifest_sha256 == other.manifest_sha256;
  }
};

std::string Encode(RecordKind kind, const CommitRecord& record);
// Accepts exactly what Encode writes. DataLoss names `path` and the byte where it differs.
absl::StatusOr<CommitRecord> Decode(RecordKind kind, absl::string_view text, const std::string& path);

// "step-00123400-a7f3c91e".
std::string CheckpointDirectoryName(int64_t step, uint32_t attempt);
// Whether `name` is of that form.
bool IsCheckpointDirectoryName(absl::string_view name);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_COMMIT_RECORD_H_
