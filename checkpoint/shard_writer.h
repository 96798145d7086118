// One writer's part of a save: its slices into its files.
#ifndef TRIREME_CHECKPOINT_SHARD_WRITER_H_
#define TRIREME_CHECKPOINT_SHARD_WRITER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "checkpoint/manifest.pb.h"
#include "checkpoint/storage.h"
#include "checkpoint/tensor_slice.h"

namespace trireme {

// Tensors whose names begin so go into a file of their own, so that the other one is a plain file of
// parameters.
inline constexpr char kOptimizerPrefix[] = "optimizer.";

// Writes w<rank>.safetensors and w<rank>.optimizer.safetensors into `directory`, each only if there is
// something for it: creates exclusively, writes, syncs, closes. The boxes of a tensor that together are all
// of it become one whole tensor under its plain name. Reads the slices' memory once; digests and checksums
// are of the bytes that went out, and no more than a few MiB are held. Does not communicate, so it may run on
// a thread of its own over a snapshot of the slices. Slices that contradict each other in dtype or shape, or
// lie outside their tensors, are bugs, and abort.
absl::StatusOr<manifest::WriterReport> WriteShard(absl::Span<const TensorSlice> slices, int rank,
                                                  const std::string& directory, Storage& storage);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_SHARD_WRITER_H_
