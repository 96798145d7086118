#include "checkpoint/safetensors.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "checkpoint/safetensors_json.h"

namespace trireme {
namespace {

constexpr int64_t kLengthBytes = 8;

struct KnownType {
  const char* name;
  int64_t size_bytes;
  std::optional<DType> dtype;
};

constexpr std::array<KnownType, 15> kKnownTypes = {{
    {"F32", 4, DType::kF32},
    {"BF16", 2, DType::kBF16},
    {"F64", 8, DType::kF64},
    {"I32", 4, DType::kI32},
    {"I64", 8, DType::kI64},
    {"U8", 1, DType::kU8},
    {"F16", 2, std::nullopt},
    {"BOOL", 1, std::nullopt},
    {"I8", 1, std::nullopt},
    {"I16", 2, std::nullopt},
    {"U16", 2, std::nullopt},
    {"U32", 4, std::nullopt},
    {"U64", 8, std::nullopt},
    {"F8_E4M3", 1, std::nullopt},
    {"F8_E5M2", 1, std::nullopt},
}};

const KnownType* FindType(absl::string_view name) {
  for (const KnownType& type : kKnownTypes) {
    if (name == type.name) return &type;
  }
  return nullptr;
}

// Bytes of a tensor; none where they do not fit.
std::optional<int64_t> TensorBytes(const SafetensorsJsonEntry& entry, int64_t element_bytes) {
  uint64_t bytes = element_bytes;
  for (uint64_t dim : entry.shape) {
    if (__builtin_mul_overflow(bytes, dim, &bytes)) return std::nullopt;
  }
  if (bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  for (uint64_t dim : entry.shape) {  // beside a dim of 0 another may still be beyond int64
    if (dim > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  }
  return static_cast<int64_t>(bytes);
}

absl::StatusOr<SafetensorsEntry> CheckEntry(const SafetensorsJsonEntry& json, int64_t data_begin,
                                            int64_t data_bytes) {
  const auto refuse = [&json](const std::string& what) {
    return absl::InvalidArgumentError(
        absl::StrCat("byte ", json.json_offset, ": tensor \"", json.name, "\": ", what));
  };
  const KnownType* type = FindType(json.dtype_name);
  if (type == nullptr) return refuse(absl::StrCat("unknown dtype \"", json.dtype_name.substr(0, 40), "\""));
  const std::optional<int64_t> bytes = TensorBytes(json, type->size_bytes);
  if (!bytes.has_value()) return refuse("its size overflows");
  const uint64_t begin = json.data_offsets[0];
  const uint64_t end = json.data_offsets[1];
  if (begin > end || end > static_cast<uint64_t>(data_bytes)) {
    return refuse(
        absl::StrCat("data_offsets [", begin, ", ", end, "] where the file has ", data_bytes, " data bytes"));
  }
  if (end - begin != static_cast<uint64_t>(*bytes)) {
    return refuse(absl::StrCat("data_offsets span ", end - begin, " bytes, shape and dtype make ", *bytes));
  }
  SafetensorsEntry entry;
  entry.name = json.name;
  entry.dtype_name = json.dtype_name;
  entry.dims.assign(json.shape.begin(), json.shape.end());
  entry.begin = data_begin + static_cast<int64_t>(begin);
  entry.end = data_begin + static_cast<int64_t>(end);
  return entry;
}

// The entries must follow each other from `begin` to `end` of the file.
absl::Status CheckContiguous(absl::Span<const SafetensorsEntry> entries, int64_t begin, int64_t end) {
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != begin) {
      return absl::InvalidArgumentError(
          absl::StrCat("byte ", std::min(begin, entry.begin), ": tensor \"", entry.name, "\" ",
                       entry.begin < begin ? "overlaps" : "leaves a gap behind", " the one before it"));
    }
    begin = entry.end;
  }
  if (begin != end) {
    return absl::InvalidArgumentError(
        absl::StrCat("byte ", begin, ": ", end - begin, " bytes belong to no tensor"));
  }
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsHeader> ReadHeader(const ReadableFile& file) {
  const int64_t size = file.size_bytes();
  if (size < kLengthBytes)
    return absl::DataLossError(absl::StrCat("byte ", size, ": too short for a header"));
  std::array<char, kLengthBytes> length_bytes;
  if (absl::Status status = file.Read(0, kLengthBytes, length_bytes.data()); !status.ok()) return status;
  uint64_t length = 0;
  std::memcpy(&length, length_bytes.data(), kLengthBytes);
  if (length > static_cast<uint64_t>(kMaxSafetensorsHeaderBytes)) {
    return absl::InvalidArgumentError(absl::StrCat("byte 0: header length ", length, ", at most ",
                                                   kMaxSafetensorsHeaderBytes, " is accepted"));
  }
  if (static_cast<int64_t>(length) > size - kLengthBytes) {
    return absl::DataLossError(
        absl::StrCat("byte 0: header length ", length, " in a file of ", size, " bytes"));
  }
  std::string text(length, '\0');
  if (absl::Status status = file.Read(kLengthBytes, static_cast<int64_t>(length), text.data());
      !status.ok()) {
    return status;
  }
  absl::StatusOr<std::vector<SafetensorsJsonEntry>> json = ParseSafetensorsJson(text, kLengthBytes);
  if (!json.ok()) return json.status();
  SafetensorsHeader header;
  header.data_begin = kLengthBytes + static_cast<int64_t>(length);
  for (SafetensorsJsonEntry& entry : *json) {
    entry.json_offset += kLengthBytes;
    absl::StatusOr<SafetensorsEntry> checked = CheckEntry(entry, header.data_begin, size - header.data_begin);
    if (!checked.ok()) return checked.status();
    header.entries.push_back(*std::move(checked));
  }
  std::sort(header.entries.begin(), header.entries.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
            });
  if (absl::Status status = CheckContiguous(header.entries, header.data_begin, size); !status.ok())
    return status;
  return header;
}

// A JSON string. Bytes from 0x80 on stand for themselves: names are UTF-8.
std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&quoted, "\\u%04x", static_cast<unsigned int>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

}  // namespace

std::optional<DType> DTypeOfSafetensors(absl::string_view dtype_name) {
  const KnownType* type = FindType(dtype_name);
  return type == nullptr ? std::nullopt : type->dtype;
}

const char* SafetensorsName(DType dtype) {
  for (const KnownType& type : kKnownTypes) {
    if (type.dtype == dtype) return type.name;
  }
  LOG(FATAL) << "dtype " << Name(dtype) << " has no name in safetensors files";
}

absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const ReadableFile& file, const std::string& path) {
  absl::StatusOr<SafetensorsHeader> header = ReadHeader(file);
  if (header.ok()) return header;
  return absl::Status(header.status().code(), absl::StrCat(path, ": ", header.status().message()));
}

std::string SafetensorsPrologue(absl::Span<const SafetensorsTensor> tensors) {
  // Some readers want to know the framework; "pt" is the one that all of them accept.
  std::string header = R"({"__metadata__":{"format":"pt","writer":"trireme"})";
  int64_t begin = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    const int64_t end = begin + tensor.shape.num_elements() * SizeOf(tensor.dtype);
    std::string shape;
    for (int d = 0; d < tensor.shape.num_dims(); ++d)
      absl::StrAppend(&shape, d == 0 ? "" : ",", tensor.shape[d]);
    absl::StrAppend(&header, ",", Quoted(tensor.name), ":{\"dtype\":\"", SafetensorsName(tensor.dtype),
                    "\",\"shape\":[", shape, "],\"data_offsets\":[", begin, ",", end, "]}");
    begin = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  std::string prologue(kLengthBytes, '\0');
  std::memcpy(prologue.data(), &length, kLengthBytes);
  return prologue + header;
}

}  // namespace trireme
