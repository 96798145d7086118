#include "checkpoint/manifest_check.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "checkpoint/checksum.h"

namespace trireme {
namespace {

absl::Status CheckFeatures(const manifest::Manifest& manifest) {
  if (manifest.format_version() != kManifestVersion) {
    return absl::InvalidArgumentError(absl::StrCat("format_version ", manifest.format_version(),
                                                   ", this program reads ", kManifestVersion,
                                                   ": use the version that wrote it"));
  }
  if (manifest.required_features_size() > 0) {
    return absl::InvalidArgumentError(absl::StrCat("required_features: \"", manifest.required_features(0),
                                                   "\" is unknown to this program: use a newer one"));
  }
  if (manifest.state().step() < 0 || manifest.state().tokens_seen() < 0 ||
      manifest.state().applied_updates() < 0 || manifest.state().skipped_steps() < 0) {
    return absl::InvalidArgumentError("state: a negative count");
  }
  for (const manifest::SourcePosition& position : manifest.state().positions()) {
    if (position.samples() < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("position of source \"", position.source(), "\": negative"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTensors(const manifest::Manifest& manifest) {
  std::set<std::string> names;
  for (const manifest::Tensor& tensor : manifest.tensors()) {
    const auto refuse = [&tensor](const std::string& what) {
      return absl::InvalidArgumentError(absl::StrCat("tensor \"", tensor.name(), "\": ", what));
    };
    if (tensor.name().empty()) return refuse("has no name");
    if (!names.insert(tensor.name()).second) return refuse("listed twice");
    if (!DTypeOfName(tensor.dtype()).has_value())
      return refuse(absl::StrCat("unknown dtype \"", tensor.dtype(), "\""));
    if (tensor.shape_size() > Shape::kMaxDims) return refuse(absl::StrCat(tensor.shape_size(), " dims"));
    int64_t bytes = SizeOf(*DTypeOfName(tensor.dtype()));
    for (const int64_t dim : tensor.shape()) {
      if (dim < 1) return refuse(absl::StrCat("a dim of ", dim));
      if (__builtin_mul_overflow(bytes, dim, &bytes)) return refuse("its size overflows");
    }
  }
  for (const manifest::Alias& alias : manifest.aliases()) {
    if (names.count(alias.target()) == 0 || !names.insert(alias.name()).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("alias \"", alias.name(), "\" of \"", alias.target(),
                       "\": the first must be a new name, the second a tensor"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSlice(const manifest::Manifest& manifest, const manifest::File& file,
                        const manifest::Slice& slice) {
  if (slice.tensor() >= static_cast<uint32_t>(manifest.tensors_size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("file ", file.name(), ": a slice of tensor number ", slice.tensor()));
  }
  const manifest::Tensor& tensor = manifest.tensors(static_cast<int>(slice.tensor()));
  const auto refuse = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat("file ", file.name(), ", byte ", slice.offset(),
                                                   ": slice of tensor \"", tensor.name(), "\": ", what));
  };
  if (slice.begin_size() != tensor.shape_size() || slice.end_size() != tensor.shape_size())
    return refuse("wrong number of dims");
  for (int d = 0; d < tensor.shape_size(); ++d) {
    if (slice.begin(d) < 0 || slice.begin(d) >= slice.end(d) || slice.end(d) > tensor.shape(d)) {
      return refuse(absl::StrCat("[", slice.begin(d), ", ", slice.end(d), ") of a dim of ", tensor.shape(d)));
    }
  }
  const int64_t bytes = BoxOf(slice).volume() * SizeOf(*DTypeOfName(tensor.dtype()));
  if (slice.offset() < 0 || bytes > file.bytes() || slice.offset() > file.bytes() - bytes) {
    return refuse(absl::StrCat(bytes, " bytes in a file of ", file.bytes()));
  }
  return absl::OkStatus();
}

// A name in the checkpoint's own directory.
bool IsPlainFileName(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

absl::Status CheckFiles(const manifest::Manifest& manifest) {
  std::set<std::string> names;
  for (const manifest::File& file : manifest.files()) {
    if (!IsPlainFileName(file.name()) || !names.insert(file.name()).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("file \"", file.name(), "\": listed twice, or no plain name in this directory"));
    }
    const int64_t bytes = file.bytes();
    const int64_t blocks = bytes / kChecksumBlockBytes + (bytes % kChecksumBlockBytes != 0 ? 1 : 0);
    if (bytes < 0 || blocks != file.crc32c_size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("file ", file.name(), ": ", file.crc32c_size(), " checksums for ", bytes, " bytes"));
    }
    for (const manifest::Slice& slice : file.slices()) {
      if (absl::Status status = CheckSlice(manifest, file, slice); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status CheckCover(const manifest::Manifest& manifest) {
  std::vector<std::vector<Box>> boxes(manifest.tensors_size());
  for (const manifest::File& file : manifest.files()) {
    for (const manifest::Slice& slice : file.slices()) boxes[slice.tensor()].push_back(BoxOf(slice));
  }
  for (int t = 0; t < manifest.tensors_size(); ++t) {
    if (absl::Status status = CoversOnce(ShapeOf(manifest.tensors(t)), boxes[t]); !status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", manifest.tensors(t).name(), "\": ", status.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckManifest(const manifest::Manifest& manifest) {
  for (const auto check : {CheckFeatures, CheckTensors, CheckFiles, CheckCover}) {
    if (absl::Status status = check(manifest); !status.ok()) return status;
  }
  return absl::OkStatus();
}

std::optional<DType> DTypeOfName(absl::string_view name) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF64, DType::kI32, DType::kI64, DType::kU8}) {
    if (name == Name(dtype)) return dtype;
  }
  return std::nullopt;
}

Shape ShapeOf(const manifest::Tensor& tensor) {
  Shape shape;
  for (const int64_t dim : tensor.shape()) shape.Append(dim);
  return shape;
}

Box BoxOf(const manifest::Slice& slice) {
  Box box;
  box.num_dims = slice.begin_size();
  for (int d = 0; d < box.num_dims; ++d) {
    box.begin[d] = slice.begin(d);
    box.end[d] = slice.end(d);
  }
  return box;
}

}  // namespace trireme
