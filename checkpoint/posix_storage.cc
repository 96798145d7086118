#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "checkpoint/storage.h"

namespace trireme {
namespace {

absl::Status ErrorOf(int error, const std::string& what, const std::string& path) {
  const std::string message = absl::StrCat(path, ": cannot ", what, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EEXIST:
    case ENOTEMPTY:
      return absl::AlreadyExistsError(message);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(
          absl::StrCat(message, "; free some space or set checkpoint.keep lower"));
    default:
      return absl::UnavailableError(message);
  }
}

class PosixWritableFile : public WritableFile {
 public:
  PosixWritableFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixWritableFile() override {
    if (fd_ >= 0) close(fd_);
  }

  absl::Status Append(absl::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = write(fd_, bytes.data(), bytes.size());
      if (written < 0) {
        if (errno == EINTR) continue;
        return ErrorOf(errno, "write", path_);
      }
      bytes.remove_prefix(written);
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    if (fsync(fd_) != 0) return ErrorOf(errno, "sync", path_);
    return absl::OkStatus();
  }

  absl::Status Close() override {
    const int fd = std::exchange(fd_, -1);
    if (close(fd) != 0) return ErrorOf(errno, "close", path_);
    return absl::OkStatus();
  }

 private:
  int fd_;
  std::string path_;
};

class PosixReadableFile : public ReadableFile {
 public:
  PosixReadableFile(int fd, int64_t size, std::string path) : fd_(fd), size_(size), path_(std::move(path)) {}
  ~PosixReadableFile() override { close(fd_); }

  int64_t size_bytes() const override { return size_; }

  absl::Status Read(int64_t offset, int64_t size, char* out) const override {
    while (size > 0) {
      const ssize_t got = pread(fd_, out, size, offset);
      if (got < 0) {
        if (errno == EINTR) continue;
        return ErrorOf(errno, absl::StrCat("read at byte ", offset), path_);
      }
      if (got == 0) {
        return absl::DataLossError(
            absl::StrCat(path_, ": ends at byte ", offset, ", ", size, " bytes too early"));
      }
      out += got;
      offset += got;
      size -= got;
    }
    return absl::OkStatus();
  }

 private:
  int fd_;
  int64_t size_;
  std::string path_;
};

class PosixStorage : public Storage {
 public:
  absl::StatusOr<std::unique_ptr<WritableFile>> CreateExclusive(const std::string& path) override {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) return ErrorOf(errno, "create", path);
    return std::make_unique<PosixWritableFile>(fd, path);
  }

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForRead(const std::string& path) override {
    // Without O_NONBLOCK opening a pipe would wait for a writer for ever.
    const int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return ErrorOf(errno, "open", path);
    struct stat info = {};
    if (fstat(fd, &info) != 0) {
      const int error = errno;
      close(fd);
      return ErrorOf(error, "examine", path);
    }
    if (!S_ISREG(info.st_mode)) {
      close(fd);
      return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
    }
    return std::make_unique<PosixReadableFile>(fd, info.st_size, path);
  }

  absl::StatusOr<int64_t> FileSize(const std::string& path) override {
    struct stat info = {};
    if (stat(path.c_str(), &info) != 0) return ErrorOf(errno, "examine", path);
    if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
    return info.st_size;
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) return ErrorOf(errno, absl::StrCat("rename to ", to), from);
    return absl::OkStatus();
  }

  absl::Status Delete(const std::string& path) override {
    if (unlink(path.c_str()) != 0) return ErrorOf(errno, "delete", path);
    return absl::OkStatus();
  }

  absl::Status MakeDirectory(const std::string& path) override {
    if (mkdir(path.c_str(), 0700) != 0) return ErrorOf(errno, "make the directory", path);
    return absl::OkStatus();
  }

  absl::Status DeleteDirectory(const std::string& path) override {
    if (rmdir(path.c_str()) != 0) return ErrorOf(errno, "delete the directory", path);
    return absl::OkStatus();
  }

  absl::Status SyncDirectory(const std::string& path) override {
    const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return ErrorOf(errno, "open the directory", path);
    const int error = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    if (error != 0) return ErrorOf(error, "sync the directory", path);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    DIR* directory = opendir(path.c_str());
    if (directory == nullptr) return ErrorOf(errno, "list", path);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(directory)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
      errno = 0;
    }
    const int error = errno;
    closedir(directory);
    if (error != 0) return ErrorOf(error, "list", path);
    std::sort(names.begin(), names.end());
    return names;
  }
};

}  // namespace

std::unique_ptr<Storage> NewPosixStorage() {
  return std::make_unique<PosixStorage>();
}

}  // namespace trireme
