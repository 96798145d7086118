#include "data/output_directory.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

absl::Status SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be opened"));
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  if (result != 0) return absl::ErrnoToStatus(error, absl::StrCat(path, ": cannot be made durable"));
  return absl::OkStatus();
}

// "a/b/" and "a/b" are one folder.
std::string WithoutTrailingSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

absl::Status WriteBytesAt(int fd, const std::string& path, int64_t offset, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be written at byte ", offset));
    }
    offset += written;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status WriteNewFile(const std::string& path, absl::string_view bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be made"));
  absl::Status status = WriteBytesAt(fd, path, 0, bytes);
  if (status.ok() && fsync(fd) != 0) {
    status = absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be made durable"));
  }
  if (close(fd) != 0 && status.ok()) {
    status = absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be closed"));
  }
  return status;
}

OutputDirectory::OutputDirectory(std::string path, std::string working_path)
    : path_(std::move(path)), working_path_(std::move(working_path)) {}

absl::StatusOr<std::unique_ptr<OutputDirectory>> OutputDirectory::Create(const std::string& requested) {
  const std::string path = WithoutTrailingSlash(requested);
  if (path.empty()) return absl::InvalidArgumentError("the output folder has no name");
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (status.type() != fs::file_type::not_found) {
    const bool empty_folder =
        status.type() == fs::file_type::directory && fs::is_empty(path, error) && !error;
    if (!empty_folder) {
      return absl::AlreadyExistsError(absl::StrCat(
          path, ": exists and is no empty folder; nothing is overwritten: remove it or name another output"));
    }
  }
  const std::string parent = fs::path(path).parent_path().string();
  if (!parent.empty()) fs::create_directories(parent, error);
  if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat(parent, ": cannot be made"));
  std::string working_path = absl::StrCat(path, ".unfinished-XXXXXX");
  if (mkdtemp(working_path.data()) == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat(working_path, ": cannot be made"));
  }
  // mkdtemp makes it private; data is as readable as the user's other files.
  const mode_t mask = umask(0);
  umask(mask);
  if (chmod(working_path.c_str(), 0777 & ~mask) != 0) {
    LOG(WARNING) << working_path << ": stays readable by its owner only";
  }
  return std::unique_ptr<OutputDirectory>(new OutputDirectory(path, std::move(working_path)));
}

OutputDirectory::~OutputDirectory() {
  if (working_path_.empty()) return;
  std::error_code error;
  fs::remove_all(working_path_, error);
  if (error) LOG(WARNING) << working_path_ << ": cannot be removed: " << error.message();
}

absl::Status OutputDirectory::Commit() {
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(working_path_, error)) {
    if (!entry.is_directory()) continue;
    if (absl::Status status = SyncDirectory(entry.path().string()); !status.ok()) return status;
  }
  if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat(working_path_, ": cannot be listed"));
  if (absl::Status status = SyncDirectory(working_path_); !status.ok()) return status;
  if (std::rename(working_path_.c_str(), path_.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(working_path_, ": cannot be renamed to ", path_));
  }
  working_path_.clear();
  const std::string parent = fs::path(path_).parent_path().string();
  return SyncDirectory(parent.empty() ? "." : parent);
}

}  // namespace trireme
