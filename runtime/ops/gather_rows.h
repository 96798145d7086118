#ifndef TRIREME_RUNTIME_OPS_GATHER_ROWS_H_
#define TRIREME_RUNTIME_OPS_GATHER_ROWS_H_

#include "runtime/recorder.h"

namespace trireme {

// y[i] = x[rows[i]]: picks the tokens whose logits generation needs. No gradient.
//   x [T, D]   rows i32 [N], each in [0, T)
// kGatherRows: (x, rows) -> y [N, D]
Tensor GatherRows(Tensor x, Tensor rows);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_GATHER_ROWS_H_
