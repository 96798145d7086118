// The file system as checkpoints see it. Everything that is written or read goes through here, so that tests
// can keep it in memory, make any operation fail, and cut the power.
//
// Errors name the path and say what the system said. What the main program makes of a status (exit code):
//   InvalidArgument, DataLoss, NotFound, OutOfRange   65  invalid input or checkpoint
//   PermissionDenied                                  77  unsafe or missing permissions
//   ResourceExhausted                                 73  no space (ENOSPC, EDQUOT, EFBIG)
//   Unavailable, AlreadyExists                        74  any other I/O error
//   Aborted, Internal                                 70  ranks disagree, internal invariant
#ifndef TRIREME_CHECKPOINT_STORAGE_H_
#define TRIREME_CHECKPOINT_STORAGE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trireme {

// A file being written, from its start to its end. After an error it is of no use: the file is to be thrown
// away. Destruction without Close leaves the file with what was written so far.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual absl::Status Append(absl::string_view bytes) = 0;
  // Returns when the contents would survive a power cut. The file's *name* survives by SyncDirectory.
  virtual absl::Status Sync() = 0;
  virtual absl::Status Close() = 0;
};

class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  virtual int64_t size_bytes() const = 0;  // when it was opened
  // Fills `out` with bytes [offset, offset + size). DataLoss where the file ends before.
  virtual absl::Status Read(int64_t offset, int64_t size, char* out) const = 0;
};

// Thread-safe. Paths are separated by '/'.
class Storage {
 public:
  virtual ~Storage() = default;

  // A new file; AlreadyExists where there is anything of that name.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> CreateExclusive(const std::string& path) = 0;
  // A regular file; NotFound where there is none, InvalidArgument for a pipe or device.
  virtual absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForRead(const std::string& path) = 0;
  virtual absl::StatusOr<int64_t> FileSize(const std::string& path) = 0;
  // Replaces `to` in one step.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status Delete(const std::string& path) = 0;
  // AlreadyExists where there is anything of that name.
  virtual absl::Status MakeDirectory(const std::string& path) = 0;
  // An empty directory.
  virtual absl::Status DeleteDirectory(const std::string& path) = 0;
  // Returns when the directory's entries would survive a power cut.
  virtual absl::Status SyncDirectory(const std::string& path) = 0;
  // Names in the directory, sorted. NotFound where there is none.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& path) = 0;
};

// The machine's file system. Directories are made with mode 0700.
std::unique_ptr<Storage> NewPosixStorage();

// Whether there is a file at `path`.
absl::StatusOr<bool> FileExists(const std::string& path, Storage& storage);
// A whole file; InvalidArgument where it is larger than `limit_bytes`.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t limit_bytes, Storage& storage);
// Makes directory/name with these contents so that at any moment, power cuts included, there is the old file
// of that name (or none) or the new one: writes directory/temporary_name, syncs it, renames it, syncs the
// directory.
absl::Status WriteDurably(const std::string& directory, const std::string& name,
                          const std::string& temporary_name, absl::string_view contents, Storage& storage);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_STORAGE_H_
