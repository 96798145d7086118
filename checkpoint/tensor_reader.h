// Loading tensors by name and global extent, whoever stored them and in whatever pieces.
#ifndef TRIREME_CHECKPOINT_TENSOR_READER_H_
#define TRIREME_CHECKPOINT_TENSOR_READER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "checkpoint/storage.h"
#include "checkpoint/tensor_slice.h"
#include "checkpoint/verified_file.h"

namespace trireme {

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;  // as stored
  Shape shape;
  std::optional<uint64_t> content_digest;  // none in a foreign file
};

// Where everything lies. Slices of a tensor cover it once.
struct StoredTensors {
  struct Slice {
    int tensor = 0;
    int file = 0;
    Box box;
    int64_t offset = 0;  // bytes in the file; row-major
  };
  std::vector<TensorInfo> tensors;
  std::vector<StoredFile> files;
  std::vector<Slice> slices;
  std::vector<TensorAlias> aliases;
  std::map<std::string, std::string> unreadable;  // names of tensors that we cannot hold, and why
};

// Not thread-safe. Keeps no file open between calls and holds a few MiB while it loads.
class TensorReader {
 public:
  // `storage` must outlive the reader.
  TensorReader(StoredTensors stored, Storage& storage);

  const std::vector<TensorInfo>& tensors() const { return stored_.tensors; }
  const std::vector<TensorAlias>& aliases() const { return stored_.aliases; }
  const std::vector<StoredFile>& files() const { return stored_.files; }
  const std::map<std::string, std::string>& unreadable() const { return stored_.unreadable; }
  // A tensor, by its own name or an alias; nullptr where there is none.
  const TensorInfo* Find(const std::string& name) const;

  // Fills every slice. Reads only the blocks that hold wanted elements and verifies their checksums. Element
  // types convert as CopyRegion (strided.h) allows. InvalidArgument names the tensor and the box: not stored,
  // another shape, a conversion that loses bits; DataLoss the file and the bytes. After an error the slices'
  // memory is unspecified.
  absl::Status Load(absl::Span<const TensorSlice> wanted);

  // Reads every byte: checksums, headers against slices, content digests.
  absl::Status VerifyAll();

 private:
  struct Piece;  // what one stored slice gives to one wanted slice

  absl::Status Plan(const TensorSlice& wanted, std::vector<Piece>* pieces) const;
  absl::Status LoadPiece(const Piece& piece, VerifiedFile& file, std::string* buffer) const;
  absl::Status VerifyFile(int file, std::vector<uint64_t>* digests);
  absl::Status CheckHeader(int file, const VerifiedFile& opened) const;

  StoredTensors stored_;
  Storage& storage_;
  std::map<std::string, int> tensor_of_name_;       // aliases included
  std::vector<std::vector<int>> slices_of_tensor_;  // places in stored_.slices
};

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_TENSOR_READER_H_
