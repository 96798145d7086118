#include "checkpoint/writer.h"

#include <glog/logging.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "checkpoint/agreement.h"
#include "checkpoint/checksum.h"
#include "checkpoint/manifest_merge.h"
#include "checkpoint/run_directory.h"
#include "checkpoint/shard_writer.h"
#include "runtime/random.h"

namespace trireme {
namespace {

// What rank 0 decides and every rank needs. The record's manifest fields are filled when there is a manifest.
struct Attempt {
  CommitRecord record;
  std::string path;
};

absl::Status AgreeOnRequest(const SaveRequest& request, Communicator& world) {
  struct Key {
    int64_t step;
    uint64_t config;
    uint64_t directory;
  };
  constexpr int kWords = 3;
  const Key mine = {request.state.step, HashName(request.state.config_digest),
                    HashName(request.run_directory)};
  std::vector<Key> all(world.size());
  world.AllGather(&mine, all.data(), kWords, DType::kI64);
  for (int rank = 1; rank < world.size(); ++rank) {
    if (all[rank].step != all[0].step) {
      return absl::AbortedError(absl::StrCat("ranks disagree: rank 0 saves step ", all[0].step, ", rank ",
                                             rank, " saves step ", all[rank].step));
    }
    if (all[rank].config != all[0].config || all[rank].directory != all[0].directory) {
      return absl::AbortedError(
          absl::StrCat("ranks disagree: rank 0 and rank ", rank, " have another ",
                       all[rank].config != all[0].config ? "configuration" : "run directory"));
    }
  }
  return absl::OkStatus();
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// The directory's name is durable when this returns, whoever made it.
absl::Status EnsureDirectory(const std::string& path, Storage& storage) {
  absl::Status made = storage.MakeDirectory(path);
  if (!made.ok() && !absl::IsAlreadyExists(made)) return made;
  return storage.SyncDirectory(ParentOf(path));
}

uint32_t RandomAttempt() {
  uint32_t attempt = 0;
  PCHECK(getrandom(&attempt, sizeof(attempt), 0) == static_cast<ssize_t>(sizeof(attempt)));
  return attempt;
}

// Rank 0: makes the directory of the attempt, durable. Directories are never reused.
absl::Status BeginAttempt(const SaveRequest& request, Storage& storage, Attempt* attempt) {
  const std::string directory = CheckpointsDirectory(request.run_directory);
  if (absl::Status status = EnsureDirectory(request.run_directory, storage); !status.ok()) return status;
  if (absl::Status status = EnsureDirectory(directory, storage); !status.ok()) return status;
  absl::StatusOr<RunCheckpoints> before = ListCheckpoints(request.run_directory, storage);
  if (!before.ok()) return before.status();
  CommitRecord& record = attempt->record;
  record.step = request.state.step;
  record.sequence = before->complete.empty() ? 1 : before->complete.back().sequence + 1;
  absl::Status made = absl::AlreadyExistsError("");
  while (absl::IsAlreadyExists(made)) {
    record.directory = CheckpointDirectoryName(record.step, RandomAttempt());
    attempt->path = absl::StrCat(directory, "/", record.directory);
    made = storage.MakeDirectory(attempt->path);
  }
  if (!made.ok()) return made;
  return storage.SyncDirectory(directory);
}

// Rank 0: makes room after a failure before the commit, as well as it can; the failure is what is reported.
void AbandonAttempt(const Attempt& attempt, Storage& storage) {
  const absl::StatusOr<std::vector<std::string>> files = storage.List(attempt.path);
  if (!files.ok()) return;
  for (const std::string& file : *files) storage.Delete(absl::StrCat(attempt.path, "/", file)).IgnoreError();
  storage.DeleteDirectory(attempt.path).IgnoreError();
}

// Rank 0: all writers are done; makes the attempt a checkpoint.
absl::Status Commit(const SaveRequest& request, const std::vector<std::string>& reports, Attempt* attempt,
                    Storage& storage, SaveReport* report) {
  CommitRecord& record = attempt->record;
  absl::StatusOr<manifest::Manifest> manifest = MergeReports(reports, request.state, record.sequence);
  if (!manifest.ok()) return manifest.status();
  const std::string bytes = manifest->SerializeAsString();
  record.manifest_bytes = static_cast<int64_t>(bytes.size());
  record.manifest_sha256 = Sha256Hex(bytes);
  if (absl::Status status = WriteDurably(attempt->path, kManifestName, "MANIFEST.tmp", bytes, storage);
      !status.ok()) {
    return status;
  }
  if (absl::Status status = WriteDurably(attempt->path, kCommitName, "COMMIT.tmp",
                                         Encode(RecordKind::kCommit, record), storage);
      !status.ok()) {
    return status;
  }
  const std::string temporary = absl::StrCat(kLatestName, ".", record.directory, ".tmp");
  if (absl::Status status = WriteDurably(CheckpointsDirectory(request.run_directory), kLatestName, temporary,
                                         Encode(RecordKind::kLatest, record), storage);
      !status.ok()) {
    return status;
  }
  report->num_files = manifest->files_size();
  report->num_tensors = manifest->tensors_size();
  for (const manifest::File& file : manifest->files()) report->bytes += file.bytes();
  absl::StatusOr<std::vector<std::string>> deleted =
      DeleteOldCheckpoints(request.run_directory, record, request.keep, storage);
  if (!deleted.ok()) {
    return absl::Status(
        deleted.status().code(),
        absl::StrCat(attempt->path,
                     " is complete and durable, but deleting old ones failed: ", deleted.status().message()));
  }
  report->deleted = *std::move(deleted);
  return absl::OkStatus();
}

// Everyone learns the attempt as rank 0 knows it.
void ShareAttempt(const SaveRequest& request, Communicator& world, Attempt* attempt) {
  std::string text = world.rank() == 0 ? Encode(RecordKind::kCommit, attempt->record) : "";
  BroadcastBytes(&text, 0, world);
  absl::StatusOr<CommitRecord> record = Decode(RecordKind::kCommit, text, "rank 0");
  CHECK(record.ok()) << record.status();
  attempt->record = *std::move(record);
  attempt->path = absl::StrCat(CheckpointsDirectory(request.run_directory), "/", attempt->record.directory);
}

}  // namespace

absl::StatusOr<SaveReport> Save(const SaveRequest& request, absl::Span<const TensorSlice> mine,
                                Communicator& world, Storage& storage) {
  const bool is_first = world.rank() == 0;
  if (absl::Status status = AgreeOnRequest(request, world); !status.ok()) return status;

  Attempt attempt;
  attempt.record.manifest_sha256 = std::string(64, '0');
  absl::Status status = is_first ? BeginAttempt(request, storage, &attempt) : absl::OkStatus();
  if (status = AgreeOnStatus(status, world); !status.ok()) return status;
  ShareAttempt(request, world, &attempt);

  absl::StatusOr<manifest::WriterReport> written = WriteShard(mine, world.rank(), attempt.path, storage);
  if (status = AgreeOnStatus(written.status(), world); !status.ok()) {
    if (is_first) AbandonAttempt(attempt, storage);
    return status;
  }
  for (const TensorAlias& alias : request.aliases) {
    manifest::Alias* entry = written->add_aliases();
    entry->set_name(alias.name);
    entry->set_target(alias.target);
  }

  SaveReport report;
  const std::vector<std::string> reports = GatherBytes(written->SerializeAsString(), world);
  if (is_first) status = Commit(request, reports, &attempt, storage, &report);
  if (status = AgreeOnStatus(status, world); !status.ok()) return status;
  ShareAttempt(request, world, &attempt);
  report.directory = attempt.path;
  report.record = attempt.record;
  std::array<int64_t, 3> counts = {report.bytes, report.num_files, report.num_tensors};
  world.Broadcast(counts.data(), counts.size(), DType::kI64, 0);
  report.bytes = counts[0];
  report.num_files = counts[1];
  report.num_tensors = counts[2];
  return report;
}

}  // namespace trireme
