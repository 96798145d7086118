// A checkpoint in words, for people.
#ifndef TRIREME_CHECKPOINT_DESCRIBE_H_
#define TRIREME_CHECKPOINT_DESCRIBE_H_

#include <string>

#include "absl/status/statusor.h"
#include "checkpoint/storage.h"

namespace trireme {

// What lies at `path`: a run directory, a checkpoint's directory, or plain safetensors files
// (hugging_face.h). Several lines: state, files, every tensor with type, shape and digest; for a run
// directory also its other checkpoints. With `verify`, every byte is read and checked as well, and the text
// says so. Errors as those of opening and verifying.
absl::StatusOr<std::string> DescribeCheckpoint(const std::string& path, bool verify, Storage& storage);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_DESCRIBE_H_
