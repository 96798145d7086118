// The attention of ops/attention.h and the blocks of ops/ring_attention.h, for f32 and bf16 compute dtypes.
// (f64 has only the plain path.)
//
// Tiles of 64 queries meet tiles of 64 keys, in fp32 whatever the dtype. Scores lie keys by queries, so that
// 16 queries fill a vector: maxima and sums over keys need no reduction inside a vector, and every product is
// "broadcast one operand, load rows of the other". Softmax is online, arXiv:2205.14135. What a mask hides is
// skipped in steps of 4 keys by 16 queries; only what it cuts through is compared with lo.
// The bits of the result do not depend on the number of threads.
#ifndef TRIREME_RUNTIME_CPU_ATTENTION_H_
#define TRIREME_RUNTIME_CPU_ATTENTION_H_

#include <cstdint>

#include "runtime/kernel.h"

namespace trireme {

// Parallel over (key head, tile of queries).
void AttentionFast(const KernelArguments& arguments);
int64_t AttentionFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                    absl::Span<const View> outputs, int num_threads);

// One task is a key head and a stretch of tokens that sees nothing outside itself: it recomputes the weights
// from lse, tile by tile, and adds up its dK and dV in fp32 in the order of the queries.
void AttentionGradFast(const KernelArguments& arguments);
int64_t AttentionGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int num_threads);

// The same of a block of ops/ring_attention.h. A task of the gradient is a key head with all queries.
void BlockAttentionFast(const KernelArguments& arguments);
int64_t BlockAttentionFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                         absl::Span<const View> outputs, int num_threads);
void BlockAttentionGradFast(const KernelArguments& arguments);
int64_t BlockAttentionGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                             absl::Span<const View> outputs, int num_threads);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_ATTENTION_H_
