// The one definition of a reduction over ranks. Every communicator uses it, so all of them give the same
// bits.
#ifndef TRIREME_PARALLEL_REDUCTION_H_
#define TRIREME_PARALLEL_REDUCTION_H_

#include <cstdint>

#include "absl/types/span.h"
#include "runtime/communicator.h"
#include "runtime/dtype.h"

namespace trireme {

// out[i] = ((sources[0][i] op sources[1][i]) op sources[2][i]) ...; `count` elements each, at least one
// source. f32 and f64 are added in their own precision, bf16 in fp32 and rounded once at the end; integers
// wrap. The maximum of anything and a NaN is a NaN. `out` may be one of the sources. Aborts on a dtype that
// has no sum (u8).
void ReduceInOrder(absl::Span<const void* const> sources, void* out, int64_t count, DType dtype, ReduceOp op);

// "sum", "max".
constexpr const char* Name(ReduceOp op) {
  return op == ReduceOp::kSum ? "sum" : "max";
}

}  // namespace trireme

#endif  // TRIREME_PARALLEL_REDUCTION_H_
