// Addresses and copies of what communicators are given as void*.
#ifndef TRIREME_PARALLEL_BYTES_H_
#define TRIREME_PARALLEL_BYTES_H_

#include <cstdint>
#include <cstring>

namespace trireme {

inline const char* At(const void* data, int64_t offset) {
  return static_cast<const char*>(data) + offset;
}
inline char* At(void* data, int64_t offset) {
  return static_cast<char*>(data) + offset;
}

// Copies, where the two are not the same bytes already: the forms in place. They may overlap.
inline void MoveBytes(const void* from, void* to, int64_t bytes) {
  if (from != to && bytes > 0) std::memmove(to, from, bytes);
}

}  // namespace trireme

#endif  // TRIREME_PARALLEL_BYTES_H_
