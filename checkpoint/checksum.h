// CRC32C of file contents and SHA-256 of the manifest.
#ifndef TRIREME_CHECKPOINT_CHECKSUM_H_
#define TRIREME_CHECKPOINT_CHECKSUM_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace trireme {

// Files carry one CRC32C for each of their blocks of this size; the last block may be shorter.
inline constexpr int64_t kChecksumBlockBytes = int64_t{1} << 20;

// CRC32C (Castagnoli, as in RFC 3720) of `bytes` behind bytes that have the CRC32C `before`; 0 for none.
uint32_t Crc32c(absl::string_view bytes, uint32_t before = 0);

// 64 lower-case hexadecimal digits.
std::string Sha256Hex(absl::string_view bytes);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_CHECKSUM_H_
