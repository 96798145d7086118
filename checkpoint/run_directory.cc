#include "checkpoint/run_directory.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/agreement.h"

namespace trireme {
namespace {

constexpr int64_t kRecordLimitBytes = 4096;

absl::Status LatestIsLost(const std::string& path, const std::string& why) {
  return absl::DataLossError(absl::StrCat(path, ": ", why,
                                          ". Remedy: name a checkpoint directory to load from, or delete ",
                                          path, " to go on from the newest complete checkpoint beside it"));
}

absl::Status ReadLatest(const std::string& directory, Storage& storage, RunCheckpoints* found) {
  const std::string path = absl::StrCat(directory, "/", kLatestName);
  absl::StatusOr<CommitRecord> latest = ReadRecord(RecordKind::kLatest, path, storage);
  if (absl::IsNotFound(latest.status())) return absl::OkStatus();
  if (absl::IsDataLoss(latest.status()) || absl::IsInvalidArgument(latest.status())) {
    return LatestIsLost(path, std::string(latest.status().message()));
  }
  if (!latest.ok()) return latest.status();
  const auto named =
      std::find_if(found->complete.begin(), found->complete.end(),
                   [&latest](const CommitRecord& record) { return record.directory == latest->directory; });
  if (named == found->complete.end()) {
    std::string why =
        absl::StrCat("byte 0: names ", latest->directory, ", where there is no complete checkpoint");
    for (const std::string& ignored : found->ignored) {
      if (absl::StrContains(ignored, latest->directory)) absl::StrAppend(&why, " (", ignored, ")");
    }
    return LatestIsLost(path, why);
  }
  if (!(*named == *latest)) {
    return LatestIsLost(path,
                        absl::StrCat("byte 0: does not agree with ", latest->directory, "/", kCommitName));
  }
  found->latest = *std::move(latest);
  return absl::OkStatus();
}

absl::Status DeleteCheckpoint(const std::string& directory, const std::string& name, Storage& storage) {
  const std::string path = absl::StrCat(directory, "/", name);
  absl::StatusOr<std::vector<std::string>> files = storage.List(path);
  if (!files.ok()) return files.status();
  if (absl::Status status = storage.Delete(absl::StrCat(path, "/", kCommitName)); !status.ok()) return status;
  if (absl::Status status = storage.SyncDirectory(path); !status.ok()) return status;
  for (const std::string& file : *files) {
    if (file == kCommitName) continue;
    if (absl::Status status = storage.Delete(absl::StrCat(path, "/", file)); !status.ok()) return status;
  }
  if (absl::Status status = storage.DeleteDirectory(path); !status.ok()) return status;
  return storage.SyncDirectory(directory);
}

}  // namespace

absl::StatusOr<CommitRecord> ReadRecord(RecordKind kind, const std::string& path, Storage& storage) {
  absl::StatusOr<std::string> text = ReadWholeFile(path, kRecordLimitBytes, storage);
  if (!text.ok()) return text.status();
  return Decode(kind, *text, path);
}

std::string CheckpointsDirectory(const std::string& run_directory) {
  return absl::StrCat(run_directory, "/checkpoints");
}

absl::StatusOr<RunCheckpoints> ListCheckpoints(const std::string& run_directory, Storage& storage) {
  const std::string directory = CheckpointsDirectory(run_directory);
  RunCheckpoints found;
  absl::StatusOr<std::vector<std::string>> names = storage.List(directory);
  if (absl::IsNotFound(names.status())) return found;
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    if (!IsCheckpointDirectoryName(name)) continue;
    const std::string path = absl::StrCat(directory, "/", name, "/", kCommitName);
    absl::StatusOr<CommitRecord> record = ReadRecord(RecordKind::kCommit, path, storage);
    if (record.ok() && record->directory != name) {
      record = absl::DataLossError(absl::StrCat(path, ": byte 0: belongs to ", record->directory));
    }
    if (record.ok()) {
      found.complete.push_back(*std::move(record));
    } else if (absl::IsNotFound(record.status())) {
      found.ignored.push_back(absl::StrCat(directory, "/", name, ": was never committed"));
    } else if (absl::IsDataLoss(record.status()) || absl::IsInvalidArgument(record.status())) {
      found.ignored.emplace_back(record.status().message());
    } else {
      return record.status();
    }
  }
  std::sort(found.complete.begin(), found.complete.end(), [](const CommitRecord& a, const CommitRecord& b) {
    return std::tie(a.sequence, a.directory) < std::tie(b.sequence, b.directory);
  });
  if (absl::Status status = ReadLatest(directory, storage, &found); !status.ok()) return status;
  return found;
}

absl::StatusOr<std::optional<CommitRecord>> FindLatest(const std::string& run_directory, Storage& storage) {
  absl::StatusOr<RunCheckpoints> found = ListCheckpoints(run_directory, storage);
  if (!found.ok()) return found.status();
  for (const std::string& ignored : found->ignored) LOG(WARNING) << "checkpoint ignored: " << ignored;
  if (found->complete.empty()) return std::optional<CommitRecord>();
  return std::optional<CommitRecord>(found->complete.back());
}

absl::StatusOr<std::optional<CommitRecord>> FindLatestTogether(const std::string& run_directory,
                                                               Communicator& world, Storage& storage) {
  absl::StatusOr<std::optional<CommitRecord>> found = std::optional<CommitRecord>();
  std::string record;
  if (world.rank() == 0) {
    found = FindLatest(run_directory, storage);
    if (found.ok() && found->has_value()) record = Encode(RecordKind::kCommit, **found);
  }
  if (absl::Status status = AgreeOnStatus(found.status(), world); !status.ok()) return status;
  BroadcastBytes(&record, 0, world);
  if (record.empty()) return std::optional<CommitRecord>();
  absl::StatusOr<CommitRecord> decoded = Decode(RecordKind::kCommit, record, "rank 0");
  if (!decoded.ok()) return decoded.status();
  return std::optional<CommitRecord>(*std::move(decoded));
}

absl::StatusOr<std::vector<std::string>> DeleteOldCheckpoints(const std::string& run_directory,
                                                              const CommitRecord& newest, int keep,
                                                              Storage& storage) {
  const std::string directory = CheckpointsDirectory(run_directory);
  absl::StatusOr<RunCheckpoints> found = ListCheckpoints(run_directory, storage);
  if (!found.ok()) return found.status();
  std::vector<std::string> deleted;
  const int num_complete = static_cast<int>(found->complete.size());
  for (int i = 0; keep > 0 && i < num_complete - keep; ++i) {
    const CommitRecord& old = found->complete[i];
    if (old.sequence >= newest.sequence || (found->latest.has_value() && old == *found->latest)) continue;
    if (absl::Status status = DeleteCheckpoint(directory, old.directory, storage); !status.ok())
      return status;
    deleted.push_back(old.directory);
  }
  absl::StatusOr<std::vector<std::string>> names = storage.List(directory);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    if (!absl::StartsWith(name, "LATEST.") || !absl::EndsWith(name, ".tmp")) continue;
    if (absl::Status status = storage.Delete(absl::StrCat(directory, "/", name)); !status.ok()) return status;
  }
  return deleted;
}

}  // namespace trireme
