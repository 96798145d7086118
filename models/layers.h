// What the architectures share: how parameters and the residual stream lie on the mesh.
//
// Tensor parallelism: the residual stream is Invariant on tp, or, with sequence parallelism, sharded by
// tokens there too. A block reads it through FromStream, works on its shard of heads or feed-forward columns,
// and returns through ToStream. Those two are the block's only communication: an all-reduce, or an all-gather
// and a reduce-scatter. What they do follows from the stream's layout, so that one layout switches sequence
// parallelism on or off.
#ifndef TRIREME_MODELS_LAYERS_H_
#define TRIREME_MODELS_LAYERS_H_

#include <string>

#include "models/model.h"
#include "runtime/ops/rope.h"
#include "runtime/recorder.h"

namespace trireme {

// The deviation of initial weights, GPT-2's and LLaMA's.
inline constexpr double kInitialDeviation = 0.02;

// Tokens are sharded over dp and cp; tensor-parallel ranks hold the same stream, or each its share of those
// tokens.
inline Layout StreamLayout(bool sequence_parallel) {
  return {Shard(0), sequence_parallel ? Shard(0) : kInvariant};
}

// The stream as a tensor-parallel block reads it, and a block's partial result as the stream takes it.
// `stream`: any value that lies as the stream does.
Tensor FromStream(Tensor x);
Tensor ToStream(Tensor partial, Tensor stream);

// Attention of this rank's queries, whichever rank of cp has the keys that they see (ops/attention.h).
//   qkv  [T, (H + 2K) A] of `heads`, positions embedded -> [T, H A]
Tensor Attend(Tensor qkv, HeadShape heads, const Batch& batch);

// How a parameter lies on tp that is used on the stream itself (a norm's gain): Invariant where tp's ranks
// hold the same tokens, Replicate, and its gradient summed over tp, where each has tokens of its own.
Placement OnStream(Tensor stream);

// Parameters by how they lie on tp; every rank of dp and cp uses the same value on its own tokens.
//   Vector   [size]: a gain or a bias
//   Matrix   [rows, cols] sharded on dim `sharded_dim` (0: column-parallel, 1: row-parallel)
Parameter Vector(std::string name, int64_t size, double value, Placement tp);
Parameter Matrix(std::string name, int64_t rows, int64_t cols, int sharded_dim, double deviation);

// The token embedding or output matrix [vocabulary, D], sharded over tp by rows and padded to what the mesh
// needs.
Parameter VocabularyMatrix(std::string name, int64_t vocabulary, int64_t hidden, double deviation,
                           const Recorder& recorder);

// The bias of a row-parallel product, as that product wants it: on one tp rank alone, so that the all-reduce
// counts it once.
Tensor RowBias(Tensor bias);

}  // namespace trireme

#endif  // TRIREME_MODELS_LAYERS_H_
