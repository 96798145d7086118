// Trades time for memory: values that backward reads are computed again instead of kept.
#ifndef TRIREME_RUNTIME_PASSES_RECOMPUTE_H_
#define TRIREME_RUNTIME_PASSES_RECOMPUTE_H_

#include "runtime/program.h"

namespace trireme {

// What is computed again in backward.
//   kNone       only what was gathered from other ranks (Shard -> Replicate), which is never kept
//   kSelective  also the results of cheap ops (norms, activations, dropout: OpDefinition::cheap)
//   kFull       everything but choices (OpDefinition::kept) and a segment's inputs: a block keeps its input
enum class Recompute { kNone, kSelective, kFull };

// Copies the forward ops that make a value not kept to just before its first reader in the same segment's
// backward, and lets all readers there read the copy. Communication in a copied op happens again; what
// forward gathered and nobody reads any more is gathered in backward alone. Run it after Differentiate.
void RecomputePass(Program& program, Recompute recompute);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PASSES_RECOMPUTE_H_
