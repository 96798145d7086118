#include "checkpoint/verified_file.h"

#include <algorithm>
#include <cstring>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "checkpoint/checksum.h"

namespace trireme {

absl::StatusOr<std::unique_ptr<VerifiedFile>> VerifiedFile::Open(const StoredFile& stored, Storage& storage) {
  absl::StatusOr<std::unique_ptr<ReadableFile>> raw = storage.OpenForRead(stored.path);
  if (!raw.ok()) return raw.status();
  if ((*raw)->size_bytes() != stored.bytes) {
    return absl::DataLossError(absl::StrCat(stored.path, ": ends at byte ", (*raw)->size_bytes(),
                                            ", should end at ", stored.bytes,
                                            ": truncated or replaced; use another checkpoint"));
  }
  auto file = absl::WrapUnique(new VerifiedFile(stored, *std::move(raw)));
  if (!stored.crc32c.empty() && stored.data_begin > 0) {
    for (int64_t block = 0; block <= (stored.data_begin - 1) / kChecksumBlockBytes; ++block) {
      if (absl::Status status = file->ReadBlock(block); !status.ok()) return status;
    }
  }
  return file;
}

absl::Status VerifiedFile::Read(int64_t offset, int64_t size, char* out) {
  if (stored_.crc32c.empty()) return file_->Read(offset, size, out);
  while (size > 0) {
    const int64_t block = offset / kChecksumBlockBytes;
    if (block != block_) {
      if (absl::Status status = ReadBlock(block); !status.ok()) return status;
    }
    const int64_t within = offset % kChecksumBlockBytes;
    const int64_t part = std::min<int64_t>(size, static_cast<int64_t>(block_bytes_.size()) - within);
    std::memcpy(out, block_bytes_.data() + within, part);
    out += part;
    offset += part;
    size -= part;
  }
  return absl::OkStatus();
}

absl::Status VerifiedFile::ReadBlock(int64_t block) {
  block_ = -1;
  const int64_t begin = block * kChecksumBlockBytes;
  const int64_t end = std::min(stored_.bytes, begin + kChecksumBlockBytes);
  block_bytes_.resize(end - begin);
  if (absl::Status status = file_->Read(begin, end - begin, block_bytes_.data()); !status.ok()) return status;
  const uint32_t found = Crc32c(block_bytes_);
  if (found != stored_.crc32c[block]) {
    return absl::DataLossError(absl::StrFormat(
        "%s: damaged between byte %d and byte %d: CRC32C %08x, written as %08x; use another checkpoint",
        stored_.path, begin, end, found, stored_.crc32c[block]));
  }
  block_ = block;
  return absl::OkStatus();
}

}  // namespace trireme
