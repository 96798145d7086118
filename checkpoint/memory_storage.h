// A file system in memory for tests: any operation can be made to fail, and the power can be cut.
#ifndef TRIREME_CHECKPOINT_MEMORY_STORAGE_H_
#define TRIREME_CHECKPOINT_MEMORY_STORAGE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "checkpoint/storage.h"

namespace trireme {

class MemoryStorage : public Storage {
 public:
  MemoryStorage();
  ~MemoryStorage() override;

  absl::StatusOr<std::unique_ptr<WritableFile>> CreateExclusive(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForRead(const std::string& path) override;
  absl::StatusOr<int64_t> FileSize(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Delete(const std::string& path) override;
  absl::Status MakeDirectory(const std::string& path) override;
  absl::Status DeleteDirectory(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;

  // Operations so far: every call above and every Append, Sync, Close and Read of a file is one.
  int64_t num_operations() const;
  // Operation `n` from now (0 = the next) fails with `error` and does nothing; with `and_after`, all later
  // ones too, as if the process had died. Ok ends it.
  void FailOperation(int64_t n, absl::Status error, bool and_after);
  // Whether an operation was made to fail since FailOperation.
  bool failed() const;
  // Forgets what was not synced: contents by the file's Sync, names by SyncDirectory of the directory they
  // stand in.
  void CutPower();

  // The bytes of a file, to be damaged. The file must exist.
  std::string Contents(const std::string& path) const;
  void SetContents(const std::string& path, std::string contents);
  // Every file, sorted by path.
  std::vector<std::string> Files() const;

 private:
  friend class MemoryWritableFile;
  friend class MemoryReadableFile;
  struct Node;

  absl::Status Count();  // an operation
  std::shared_ptr<Node> Find(const std::string& path) const;
  // The directory that `path` stands in; NotFound where there is none.
  absl::StatusOr<std::shared_ptr<Node>> Parent(const std::string& path) const;

  mutable std::mutex mutex_;
  std::shared_ptr<Node> root_;
  int64_t num_operations_ = 0;
  int64_t fail_at_ = -1;
  bool fail_after_ = false;
  bool failed_ = false;
  absl::Status error_;
};

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_MEMORY_STORAGE_H_
