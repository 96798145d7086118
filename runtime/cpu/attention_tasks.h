// The tasks that attention.cc hands to threads. Each runs on one thread, with scratch of its own.
#ifndef TRIREME_RUNTIME_CPU_ATTENTION_TASKS_H_
#define TRIREME_RUNTIME_CPU_ATTENTION_TASKS_H_

#include <cstdint>

#include "runtime/cpu/attention_tiles.h"
#include "runtime/kernel.h"

namespace trireme {

// out and lse of at most kTileQueries queries, for all query heads of one key head.
void AttentionTask(const KernelArguments& a, const AttentionShape& shape, int64_t key_head, Range queries,
                   float* scratch);
int64_t AttentionTaskFloats(const AttentionShape& shape);

// dqkv of a stretch of tokens, for one key head and its query heads.
void AttentionGradTask(const KernelArguments& a, const AttentionShape& shape, int64_t key_head, Range stretch,
                       float* scratch);
int64_t AttentionGradTaskFloats(const AttentionShape& shape);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_ATTENTION_TASKS_H_
