// Reading a stored file so that no damaged byte gets through.
#ifndef TRIREME_CHECKPOINT_VERIFIED_FILE_H_
#define TRIREME_CHECKPOINT_VERIFIED_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/storage.h"

namespace trireme {

// A file of tensors, as a manifest or a foreign header describes it.
struct StoredFile {
  std::string path;
  int64_t bytes = 0;
  int64_t data_begin = 0;  // bytes; the header ends here
  // One for each block (checksum.h); none where nothing vouches for the bytes, as in a foreign file.
  std::vector<uint32_t> crc32c;
};

// Not thread-safe: holds the block that was read last.
class VerifiedFile {
 public:
  // Opens the file and checks its size and its header's blocks. `stored` must outlive the result.
  static absl::StatusOr<std::unique_ptr<VerifiedFile>> Open(const StoredFile& stored, Storage& storage);

  // Fills `out` with bytes [offset, offset + size), which lie within the file. DataLoss names the file and
  // the block whose checksum does not fit.
  absl::Status Read(int64_t offset, int64_t size, char* out);
  const ReadableFile& raw() const { return *file_; }

 private:
  VerifiedFile(const StoredFile& stored, std::unique_ptr<ReadableFile> file)
      : stored_(stored), file_(std::move(file)) {}
  absl::Status ReadBlock(int64_t block);

  const StoredFile& stored_;
  std::unique_ptr<ReadableFile> file_;
  int64_t block_ = -1;  // the one held
  std::string block_bytes_;
};

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_VERIFIED_FILE_H_
