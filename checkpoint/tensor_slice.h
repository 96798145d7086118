// What the rest of the system and a checkpoint say to each other: a piece of a tensor, by name and global
// extent.
#ifndef TRIREME_CHECKPOINT_TENSOR_SLICE_H_
#define TRIREME_CHECKPOINT_TENSOR_SLICE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/extent.h"
#include "runtime/dtype.h"
#include "runtime/shape.h"

namespace trireme {

// A box of a tensor, and the memory that holds it or is to be filled with it. The memory is the caller's.
struct TensorSlice {
  std::string
      name;  // on disk: Hugging Face's for parameters, "optimizer.<what>/<parameter>" for optimiser state
  DType dtype = DType::kF32;  // of the memory
  Shape global_shape;         // of the whole tensor on disk; without padding
  Box box;                    // in the coordinates of the tensor on disk
  void* data = nullptr;       // box.volume() elements, contiguous
  // False: row-major as on disk. True (two dims only): the memory holds the box's transpose, [columns, rows]
  // row-major.
  bool transposed = false;
};

// A second name of a stored tensor: tied weights lie on disk once.
struct TensorAlias {
  std::string name;
  std::string target;
};

// Appends the slices of elements [begin, end) of `part`, counted in the order of its memory: a ZeRO range of
// it. part.data is ignored; `data` holds (or takes) element `begin`.
void AppendRange(const TensorSlice& part, int64_t begin, int64_t end, void* data,
                 std::vector<TensorSlice>* slices);

// The name of a box of a tensor in a safetensors file: the tensor's own where the box is all of it, else
// "name@<begin>:<end>,..." with a range for each dim.
std::string StoredName(const std::string& name, const Shape& global_shape, const Box& box);

// The order-free digest of the slice's elements (FORMAT.md): the sum over them, modulo 2^64, of a hash of
// (index in the whole tensor, bits). Digests of disjoint slices add up to the digest of what they cover,
// whoever holds them.
uint64_t ContentDigest(const TensorSlice& slice);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_TENSOR_SLICE_H_
