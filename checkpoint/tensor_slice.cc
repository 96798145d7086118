#include "checkpoint/tensor_slice.h"

#include "absl/strings/str_cat.h"
#include "checkpoint/strided.h"

namespace trireme {

void AppendRange(const TensorSlice& part, int64_t begin, int64_t end, void* data,
                 std::vector<TensorSlice>* slices) {
  const Box in_memory = part.transposed ? Transpose(part.box) : part.box;
  auto* bytes = static_cast<uint8_t*>(data);
  for (const Box& box : BoxesOfRange(in_memory, begin, end)) {
    TensorSlice slice = part;
    slice.box = part.transposed ? Transpose(box) : box;
    slice.data = bytes;
    bytes += box.volume() * SizeOf(part.dtype);
    slices->push_back(slice);
  }
}

std::string StoredName(const std::string& name, const Shape& global_shape, const Box& box) {
  return box == WholeBox(global_shape) ? name : absl::StrCat(name, "@", box.ToString());
}

uint64_t ContentDigest(const TensorSlice& slice) {
  return DigestOf(ViewOf(slice), slice.global_shape);
}

}  // namespace trireme
