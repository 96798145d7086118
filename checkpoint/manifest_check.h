// Whether a manifest makes sense, wherever it comes from.
#ifndef TRIREME_CHECKPOINT_MANIFEST_CHECK_H_
#define TRIREME_CHECKPOINT_MANIFEST_CHECK_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "checkpoint/extent.h"
#include "checkpoint/manifest.pb.h"
#include "runtime/dtype.h"

namespace trireme {

inline constexpr uint32_t kManifestVersion = 1;

// InvalidArgument, with the tensor or file, unless: the version and required features are known; names are
// unique and files plain names; dtypes and shapes are ours and do not overflow; every slice lies in its
// tensor and its file; every file has a checksum for each block; every element of every tensor is stored
// exactly once; aliases name tensors.
absl::Status CheckManifest(const manifest::Manifest& manifest);

// The type of that name (runtime/dtype.h).
std::optional<DType> DTypeOfName(absl::string_view name);

// Of a manifest that passed the check.
Shape ShapeOf(const manifest::Tensor& tensor);
Box BoxOf(const manifest::Slice& slice);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_MANIFEST_CHECK_H_
