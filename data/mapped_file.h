// A regular file, mapped read-only.
#ifndef TRIREME_DATA_MAPPED_FILE_H_
#define TRIREME_DATA_MAPPED_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trireme {

// Owns the mapping; movable. Reading is thread-safe. The file must not shrink while it is mapped: the kernel
// then ends the process with SIGBUS.
class MappedFile {
 public:
  // Errors: NotFound, PermissionDenied and the like, as the system says; InvalidArgument for anything but a
  // regular file (a folder, a FIFO). Never blocks on a FIFO.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const std::string& path() const { return path_; }
  absl::string_view bytes() const { return bytes_; }

 private:
  MappedFile(std::string path, absl::string_view bytes);

  std::string path_;
  absl::string_view bytes_;
};

}  // namespace trireme

#endif  // TRIREME_DATA_MAPPED_FILE_H_
