#include "checkpoint/reader.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "checkpoint/checksum.h"
#include "checkpoint/manifest.pb.h"
#include "checkpoint/manifest_check.h"
#include "checkpoint/run_directory.h"

namespace trireme {
namespace {

constexpr int64_t kManifestLimitBytes = std::numeric_limits<int32_t>::max();  // protobuf's own

absl::StatusOr<manifest::Manifest> ReadManifest(const std::string& directory, const CommitRecord& record,
                                                Storage& storage) {
  const std::string path = absl::StrCat(directory, "/", kManifestName);
  absl::StatusOr<std::string> bytes = ReadWholeFile(path, kManifestLimitBytes, storage);
  if (absl::IsNotFound(bytes.status())) return absl::DataLossError(bytes.status().message());
  if (!bytes.ok()) return bytes.status();
  if (static_cast<int64_t>(bytes->size()) != record.manifest_bytes) {
    return absl::DataLossError(absl::StrCat(path, ": ends at byte ", bytes->size(), ", COMMIT says ",
                                            record.manifest_bytes, "; use another checkpoint"));
  }
  if (Sha256Hex(*bytes) != record.manifest_sha256) {
    return absl::DataLossError(
        absl::StrCat(path, ": damaged between byte 0 and byte ", bytes->size(),
                     ": its SHA-256 is not the one in COMMIT; use another checkpoint"));
  }
  manifest::Manifest manifest;
  if (!manifest.ParseFromString(*bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": byte 0: not a manifest: malformed protocol buffer"));
  }
  absl::Status status = CheckManifest(manifest);
  if (status.ok() && (manifest.sequence() != record.sequence || manifest.state().step() != record.step)) {
    status = absl::InvalidArgumentError("step or sequence differ from COMMIT");
  }
  if (!status.ok()) return absl::Status(status.code(), absl::StrCat(path, ": byte 0: ", status.message()));
  return manifest;
}

StoredTensors StoredTensorsOf(const manifest::Manifest& manifest, const std::string& directory) {
  StoredTensors stored;
  for (const manifest::Tensor& tensor : manifest.tensors()) {
    stored.tensors.push_back(
        {tensor.name(), *DTypeOfName(tensor.dtype()), ShapeOf(tensor), tensor.content_digest()});
  }
  for (const manifest::File& file : manifest.files()) {
    StoredFile stored_file;
    stored_file.path = absl::StrCat(directory, "/", file.name());
    stored_file.bytes = file.bytes();
    stored_file.data_begin = file.bytes();
    stored_file.crc32c.assign(file.crc32c().begin(), file.crc32c().end());
    for (const manifest::Slice& slice : file.slices()) {
      stored_file.data_begin = std::min(stored_file.data_begin, slice.offset());
      stored.slices.push_back({.tensor = static_cast<int>(slice.tensor()),
                               .file = static_cast<int>(stored.files.size()),
                               .box = BoxOf(slice),
                               .offset = slice.offset()});
    }
    stored.files.push_back(std::move(stored_file));
  }
  for (const manifest::Alias& alias : manifest.aliases())
    stored.aliases.push_back({alias.name(), alias.target()});
  return stored;
}

absl::Status CheckFileSize(const StoredFile& file, Storage& storage) {
  const absl::StatusOr<int64_t> size = storage.FileSize(file.path);
  if (absl::IsNotFound(size.status())) {
    return absl::DataLossError(
        absl::StrCat(size.status().message(), ", though the manifest lists it; use another checkpoint"));
  }
  if (!size.ok()) return size.status();
  if (*size == file.bytes) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(file.path, ": ends at byte ", *size, ", should end at ", file.bytes,
                                          ": truncated or replaced; use another checkpoint"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CheckpointReader>> CheckpointReader::OpenDirectory(
    const std::string& directory, Storage& storage) {
  absl::StatusOr<CommitRecord> record =
      ReadRecord(RecordKind::kCommit, absl::StrCat(directory, "/", kCommitName), storage);
  if (!record.ok()) return record.status();
  absl::StatusOr<manifest::Manifest> manifest = ReadManifest(directory, *record, storage);
  if (!manifest.ok()) return manifest.status();
  StoredTensors stored = StoredTensorsOf(*manifest, directory);
  for (const StoredFile& file : stored.files) {
    if (absl::Status status = CheckFileSize(file, storage); !status.ok()) return status;
  }
  return absl::WrapUnique(new CheckpointReader(directory, *std::move(record), StateOfManifest(*manifest),
                                               TensorReader(std::move(stored), storage)));
}

absl::StatusOr<std::unique_ptr<CheckpointReader>> CheckpointReader::Open(const std::string& path,
                                                                         Storage& storage) {
  const absl::StatusOr<bool> committed = FileExists(absl::StrCat(path, "/", kCommitName), storage);
  if (!committed.ok()) return committed.status();
  if (*committed) return OpenDirectory(path, storage);
  const std::string name = path.substr(path.find_last_of('/', path.find_last_not_of('/')) + 1);
  if (IsCheckpointDirectoryName(absl::StripSuffix(name, "/"))) {
    return absl::DataLossError(
        absl::StrCat(path, ": has no ", kCommitName,
                     ": saving was never completed, or it is not there; use another checkpoint"));
  }
  const absl::StatusOr<std::optional<CommitRecord>> latest = FindLatest(path, storage);
  if (!latest.ok()) return latest.status();
  if (!latest->has_value()) {
    return absl::NotFoundError(absl::StrCat(
        path, ": no checkpoint: there is neither ", kCommitName,
        " nor a complete checkpoint under checkpoints/; name a run directory or a step-* directory"));
  }
  return OpenDirectory(absl::StrCat(CheckpointsDirectory(path), "/", (*latest)->directory), storage);
}

}  // namespace trireme
