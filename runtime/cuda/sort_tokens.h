// Sorts tokens by the row of a table that they read, so that the row's gradient can be added up in a fixed
// order.
#ifndef TRIREME_RUNTIME_CUDA_SORT_TOKENS_H_
#define TRIREME_RUNTIME_CUDA_SORT_TOKENS_H_

#include <cstdint>

namespace trireme {

// Ascending by row, and the tokens of one row ascending. A token that reads no row of this table has row
// `num_rows`.
struct SortedTokens {
  const uint32_t* rows;
  const uint32_t* tokens;
};

int64_t SortTokensWorkspaceBytes(int64_t num_tokens, int64_t num_rows);

// Token t reads row ids[t] - first. The result lies in the workspace, which must be 16-byte aligned. Less
// than 2^31 tokens and rows.
SortedTokens SortTokens(const int32_t* ids, int64_t first, int64_t num_tokens, int64_t num_rows,
                        void* workspace, void* stream);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_SORT_TOKENS_H_
