// Reading folders of plain safetensors files, as Hugging Face's are. Read-only.
#ifndef TRIREME_CHECKPOINT_HUGGING_FACE_H_
#define TRIREME_CHECKPOINT_HUGGING_FACE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/storage.h"
#include "checkpoint/tensor_reader.h"

namespace trireme {

// `path` is a .safetensors file, or a folder with model.safetensors or with model.safetensors.index.json and
// the files that it names (in the same folder). Tensors of a dtype that we lack, or of more than four dims,
// are listed as unreadable. Nothing vouches for the bytes: there are no checksums. InvalidArgument names
// file, byte and tensor: hostile headers (safetensors.h), an index that disagrees with the files, an alias
// whose target is missing. NotFound: no such files. `storage` must outlive the reader.
absl::StatusOr<TensorReader> OpenSafetensors(const std::string& path, Storage& storage,
                                             const std::vector<TensorAlias>& aliases = {});

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_HUGGING_FACE_H_
