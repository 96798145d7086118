// A trainable tensor as the world sees it: by name and global extent, whatever the mesh.
#ifndef TRIREME_RUNTIME_PARAMETER_H_
#define TRIREME_RUNTIME_PARAMETER_H_

#include <string>

#include "runtime/layout.h"
#include "runtime/shape.h"

namespace trireme {

// Initial value of element i of a parameter: mean + deviation * Normal(seed, name)[i], a pure function of the
// seed, the parameter's name and the global index of the element.
struct Initializer {
  double mean = 0;
  double deviation = 0;  // 0: the constant `mean`
};

struct Parameter {
  std::string name;    // ours, unique in the model; the key of its random stream
  Shape global_shape;  // without padding
  Layout layout;       // of the group's value
  Initializer init;
  Shape padded_shape;  // global, with the padding that the mesh needs (vocabulary); zeros beyond global_shape
  bool decay = true;   // whether weight decay applies: tensors of two or more dims

  // Where it lies in a Hugging Face checkpoint: rows [disk_row, ...) of a tensor of this name and shape. If
  // `disk_transposed`, the tensor on disk is the transpose (GPT-2's Conv1D): disk_shape is that of the disk,
  // and our rows are its columns. An empty disk_name: the same name and shape as here.
  std::string disk_name;
  Shape disk_shape;
  int64_t disk_row = 0;
  bool disk_transposed = false;
  // Where rows of several parameters take turns on disk (BLOOM's query, key and value, head by head): each
  // disk_run rows of ours lie together there, and begin disk_stride rows behind the disk_run before them. 0:
  // all lie together.
  int64_t disk_run = 0;
  int64_t disk_stride = 0;
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PARAMETER_H_
