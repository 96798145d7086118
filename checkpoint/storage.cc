#include "checkpoint/storage.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace trireme {

absl::StatusOr<bool> FileExists(const std::string& path, Storage& storage) {
  const absl::StatusOr<int64_t> size = storage.FileSize(path);
  if (size.ok()) return true;
  if (absl::IsNotFound(size.status())) return false;
  return size.status();
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t limit_bytes, Storage& storage) {
  absl::StatusOr<std::unique_ptr<ReadableFile>> file = storage.OpenForRead(path);
  if (!file.ok()) return file.status();
  const int64_t size = (*file)->size_bytes();
  if (size > limit_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", size, " bytes, where at most ", limit_bytes, " make sense"));
  }
  std::string contents(size, '\0');
  if (absl::Status status = (*file)->Read(0, size, contents.data()); !status.ok()) return status;
  return contents;
}

absl::Status WriteDurably(const std::string& directory, const std::string& name,
                          const std::string& temporary_name, absl::string_view contents, Storage& storage) {
  const std::string temporary = absl::StrCat(directory, "/", temporary_name);
  absl::StatusOr<std::unique_ptr<WritableFile>> file = storage.CreateExclusive(temporary);
  if (!file.ok()) return file.status();
  if (absl::Status status = (*file)->Append(contents); !status.ok()) return status;
  if (absl::Status status = (*file)->Sync(); !status.ok()) return status;
  if (absl::Status status = (*file)->Close(); !status.ok()) return status;
  if (absl::Status status = storage.Rename(temporary, absl::StrCat(directory, "/", name)); !status.ok()) {
    return status;
  }
  return storage.SyncDirectory(directory);
}

}  // namespace trireme
