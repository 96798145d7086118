#include "data/digest.h"

#include <glog/logging.h>
#include <isa-l/crc.h>
#include <openssl/evp.h>

#include <cstddef>

#include "absl/strings/escaping.h"

namespace trireme {

uint32_t TokenCrc32c(absl::string_view bytes) {
  CHECK_LE(bytes.size(), size_t{1} << 30) << "the library counts in int";
  // It reads only, but asks for a pointer to non-const.
  auto* data = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));
  return ~crc32_iscsi(data, static_cast<int>(bytes.size()), ~uint32_t{0});
}

TokenDigest DigestOf(absl::string_view bytes) {
  TokenDigest digest;
  unsigned int size = 0;
  CHECK_EQ(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr), 1);
  CHECK_EQ(size, digest.size());
  return digest;
}

std::string DigestHex(const TokenDigest& digest) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

}  // namespace trireme
