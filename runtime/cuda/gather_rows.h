// Picks rows of a matrix: what generation reads of its tokens, and the look-up of an embedding.
#ifndef TRIREME_RUNTIME_CUDA_GATHER_ROWS_H_
#define TRIREME_RUNTIME_CUDA_GATHER_ROWS_H_

#include <cstdint>

#include "runtime/kernel.h"

namespace trireme {

// y[i] = x[rows[i] - first], or zeros where x has no such row. x [T, D], rows i32 [N], y [N, D].
void GatherRows(const View& x, const int32_t* rows, int64_t first, const View& y, void* stream);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_GATHER_ROWS_H_
