// CRC32C of token shards and SHA-256 identities of tokenizers, documents and sources.
#ifndef TRIREME_DATA_DIGEST_H_
#define TRIREME_DATA_DIGEST_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace trireme {

using TokenDigest = std::array<uint8_t, 32>;

// CRC32C (Castagnoli, as in RFC 3720) of at most 2^30 bytes.
uint32_t TokenCrc32c(absl::string_view bytes);

// SHA-256.
TokenDigest DigestOf(absl::string_view bytes);

// 64 lower-case hexadecimal digits.
std::string DigestHex(const TokenDigest& digest);

}  // namespace trireme

#endif  // TRIREME_DATA_DIGEST_H_
