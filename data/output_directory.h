// A folder that appears whole or not at all.
#ifndef TRIREME_DATA_OUTPUT_DIRECTORY_H_
#define TRIREME_DATA_OUTPUT_DIRECTORY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trireme {

// Writes all of `bytes` at `offset` of an open file; `path` is for the message.
absl::Status WriteBytesAt(int fd, const std::string& path, int64_t offset, absl::string_view bytes);

// Makes the file `path`, which must not exist, with these bytes, durable.
absl::Status WriteNewFile(const std::string& path, absl::string_view bytes);

// Everything is written into a folder beside the wanted one, which takes its name at Commit(). Not
// thread-safe.
class OutputDirectory {
 public:
  // `path` must not exist or must be an empty folder; anything else is AlreadyExists, and stays untouched.
  // Missing parents are made.
  static absl::StatusOr<std::unique_ptr<OutputDirectory>> Create(const std::string& path);
  // Without a Commit() that succeeded, removes what was written.
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  // Where to write.
  const std::string& working_path() const { return working_path_; }

  // Syncs the folders and gives them their name.
  absl::Status Commit();

 private:
  OutputDirectory(std::string path, std::string working_path);

  std::string path_;
  std::string working_path_;
};

}  // namespace trireme

#endif  // TRIREME_DATA_OUTPUT_DIRECTORY_H_
