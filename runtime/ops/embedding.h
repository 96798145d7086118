#ifndef TRIREME_RUNTIME_OPS_EMBEDDING_H_
#define TRIREME_RUNTIME_OPS_EMBEDDING_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// x[t] = table[ids[t]].
//   ids    i32 [T]
//   table  [V, D]   Shard(0) on tp: rank r holds rows [r V', (r + 1) V') of the padded vocabulary, V' its
//   local rows,
//                   and a row that lies elsewhere yields zeros, so x is Partial on tp
// kEmbedding: (ids, table) -> x [T, D] of the table's dtype. Attribute: sharded (1: table is Shard(0) on tp)
// kEmbeddingGrad: (dy [T, D], ids) -> dtable [V', D] wide; may accumulate. Rows are added in the order of t,
// so the result does not depend on the number of threads. Attributes: sharded
Tensor Embedding(Tensor ids, Tensor table);
void EmbeddingGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_EMBEDDING_H_
