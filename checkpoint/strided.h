// Copies between boxes that lie in memory in any order of dims and in any element type.
#ifndef TRIREME_CHECKPOINT_STRIDED_H_
#define TRIREME_CHECKPOINT_STRIDED_H_

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "checkpoint/tensor_slice.h"

namespace trireme {

// A box in memory: the element at global index g lies at data + sum over d of (g[d] - box.begin[d]) *
// strides[d] elements. `data` need not be aligned to the element.
struct Strided {
  uint8_t* data = nullptr;
  DType dtype = DType::kF32;
  Box box;
  std::array<int64_t, Shape::kMaxDims> strides = {};
};

Strided RowMajor(void* data, DType dtype, const Box& box);
Strided ViewOf(const TensorSlice& slice);

// Copies the elements of `region`, which both boxes contain unless it is empty. Element types may differ
// where no bit is lost: bf16 to f32 or f64, f32 to f64, and f64 to f32 as long as every value is a float.
// Everything else is InvalidArgument; the message names the types, or the value and its index.
absl::Status CopyRegion(const Box& region, const Strided& from, const Strided& to);

// The digest (tensor_slice.h) of elements that lie at `view` and belong to a tensor of this shape.
uint64_t DigestOf(const Strided& view, const Shape& global_shape);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_STRIDED_H_
