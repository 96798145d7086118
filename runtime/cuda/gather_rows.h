// Picks rows of a matrix: what generation reads of its tokens, and the look-up of an embedding.
#ifndef TRIREME_RUNTIME_CUDA_GATHER_ROWS_H_
#define TRIREME_RUNTIME_CUDA_GATHER_ROWS_H_

#include <cstdint>

#include "runtime/kernel.h"

namespace trireme {

// Which rows: places[i] / per_row, none where the place is negative. Where every row has several places, they
// count through all of them.
struct RowNumbers {
  const int32_t* places;
  int32_t per_row = 1;
};

// y[i] = x[row i - first], or zeros where x has no such row. x [T, D], y [N, D], N numbers.
void GatherRows(const View& x, const RowNumbers& rows, int64_t first, const View& y, void* stream);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_GATHER_ROWS_H_
