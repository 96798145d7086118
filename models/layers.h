// What the architectures share: how parameters and the residual stream lie on the mesh.
//
// Tensor parallelism: the residual stream is Invariant on tp. A block reads it through FromStream, works on
// its shard of heads or feed-forward columns, and returns through ToStream, whose all-reduce is the block's
// only communication.
#ifndef TRIREME_MODELS_LAYERS_H_
#define TRIREME_MODELS_LAYERS_H_

#include <string>

#include "runtime/recorder.h"

namespace trireme {

// The deviation of initial weights, GPT-2's and LLaMA's.
inline constexpr double kInitialDeviation = 0.02;

// Tokens are sharded over dp and cp; tensor-parallel ranks hold the same stream.
inline Layout StreamLayout() {
  return {Shard(0), kInvariant};
}

// The stream as a tensor-parallel block reads it, and a block's partial result as the stream takes it.
Tensor FromStream(Tensor x);
Tensor ToStream(Tensor x);

// Parameters by how tp shards them; every rank of dp and cp uses the same value on its own tokens.
//   StreamVector   a norm's gain or bias [D], or the bias of a row-parallel matrix: not sharded
//   Matrix         [rows, cols] sharded on dim `sharded_dim` (0: column-parallel, 1: row-parallel)
Parameter StreamVector(std::string name, int64_t size, double value);
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
