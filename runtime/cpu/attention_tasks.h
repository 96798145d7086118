// The tasks that attention.cc hands to threads. Each runs on one thread, with scratch of its own.
#ifndef TRIREME_RUNTIME_CPU_ATTENTION_TASKS_H_
#define TRIREME_RUNTIME_CPU_ATTENTION_TASKS_H_

#include <cstdint>

#include "runtime/cpu/attention_tiles.h"
#include "runtime/kernel.h"

namespace trireme {

// What falls with the distance: slopes[h] (place of the key - place of the query) is added to a score. Absent
// places are those in memory.
struct AttentionBias {
  const float* slopes = nullptr;  // absent: no bias
  const int32_t* query_places = nullptr;
  const int32_t* key_places = nullptr;

  bool present() const { return slopes != nullptr; }
  int32_t QueryPlace(int64_t q) const {
    return query_places != nullptr ? query_places[q] : static_cast<int32_t>(q);
  }
  int32_t KeyPlace(int64_t k) const {
    return key_places != nullptr ? key_places[k] : static_cast<int32_t>(k);
  }
};

// A call of attention or of its gradient, whichever op it serves.
struct AttentionCall {
  AttentionShape shape;
  AttentionMask mask;
  AttentionBias bias;
  DType compute;        // of queries, keys and dout, and of out in the gradient
  DType stored;         // of results: out, or dqueries and dkeys
  const void* queries;  // rows of shape.columns
  const void* keys;     // and values: rows of shape.key_columns
  void* out;            // [T, H A]
  float* lse;           // [T, H]
  // Of the gradient.
  const void* dout = nullptr;
  void* dqueries = nullptr;  // rows of shape.query_gradient_columns
  void* dkeys = nullptr;     // and dvalues: rows of shape.key_columns
};

// out and lse of at most kTileQueries queries, for all query heads of one key head.
void AttentionTask(const AttentionCall& call, int64_t key_head, Range queries, float* scratch);
int64_t AttentionTaskFloats(const AttentionShape& shape);

// The gradients of a stretch of queries that sees no keys but its own, or of all queries, for one key head
// and its query heads.
void AttentionGradTask(const AttentionCall& call, int64_t key_head, Range stretch, float* scratch);
int64_t AttentionGradTaskFloats(const AttentionShape& shape);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_ATTENTION_TASKS_H_
