// The safetensors file format: 8 bytes header length (little-endian), a JSON header, the tensors' bytes.
// Source: the format's description at huggingface.co/docs/safetensors; what we write and refuse stands in
// FORMAT.md.
#ifndef TRIREME_CHECKPOINT_SAFETENSORS_H_
#define TRIREME_CHECKPOINT_SAFETENSORS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "checkpoint/storage.h"
#include "runtime/dtype.h"
#include "runtime/shape.h"

namespace trireme {

// The format's reference implementation refuses longer headers too.
inline constexpr int64_t kMaxSafetensorsHeaderBytes = 100'000'000;

struct SafetensorsEntry {
  std::string name;
  std::string dtype_name;     // "F32", "BF16", ...; one that the format knows
  std::vector<int64_t> dims;  // any number
  int64_t begin = 0;          // bytes in the file, not in its data part
  int64_t end = 0;
};

struct SafetensorsHeader {
  int64_t data_begin = 0;  // bytes; where the header ends
  std::vector<SafetensorsEntry>
      entries;  // in the order of their bytes, which they cover without gap or overlap
};

// Our element type of that name; none for those that we lack ("F16").
std::optional<DType> DTypeOfSafetensors(absl::string_view dtype_name);
// "F32", "BF16", "F64", "I32", "I64", "U8".
const char* SafetensorsName(DType dtype);

// Reads and checks a header. Errors (InvalidArgument; DataLoss where the file is too short) name file, byte
// offset and tensor: lengths beyond the file or the limit, malformed JSON, anything in it but strings and
// counts where they belong, duplicate names, an unknown dtype, sizes that overflow or do not equal dims x
// dtype, gaps, overlaps, bytes left over. Memory is bounded by the file's size.
absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const ReadableFile& file, const std::string& path);

// A tensor to be written.
struct SafetensorsTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
};

// The first bytes of a file of these tensors, stored in this order without gaps: length and header, padded
// with spaces to a multiple of 8.
std::string SafetensorsPrologue(absl::Span<const SafetensorsTensor> tensors);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_SAFETENSORS_H_
