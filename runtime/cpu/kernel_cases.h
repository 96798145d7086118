// Calls of every kernel, at sizes that reach every branch of every backend: below, at and above a vector, a
// range, a partial sum and what a block of a GPU holds in registers.
#ifndef TRIREME_RUNTIME_CPU_KERNEL_CASES_H_
#define TRIREME_RUNTIME_CPU_KERNEL_CASES_H_

#include <vector>

#include "runtime/cpu/kernel_test_util.h"
#include "runtime/ops/rope.h"

namespace trireme {

// One family a function. Gradients get results of the forward kernel, in double, where they take such.
KernelCase LinearCase(int64_t t, int64_t n, int64_t k, bool bias);
KernelCase LinearInputGradCase(int64_t t, int64_t n, int64_t k);
KernelCase LinearWeightGradCase(int64_t t, int64_t n, int64_t k);
KernelCase ColumnSumCase(int64_t t, int64_t n);
// `kept`: with the product beside what GELU makes of it.
KernelCase LinearGeluCase(int64_t t, int64_t n, int64_t k, bool bias, bool kept);
KernelCase LinearInputGeluGradCase(int64_t t, int64_t n, int64_t k);
KernelCase LinearWeightBiasGradCase(int64_t t, int64_t n, int64_t k);
KernelCase AddCase(int64_t t, int64_t d);
KernelCase CastCase(Role from, Role to, int64_t n);
KernelCase AccumulateCase(int64_t n);
KernelCase GatherRowsCase(int64_t t, int64_t d, int64_t n);
KernelCase KeepOnFirstCase(int64_t n, int coordinate);
KernelCase GeluCase(int64_t t, int64_t f);
KernelCase GeluGradCase(int64_t t, int64_t f);
KernelCase SwiGluCase(int64_t t, int64_t f);
KernelCase SwiGluGradCase(int64_t t, int64_t f);
KernelCase DropoutCase(int64_t t, int64_t d);
KernelCase RmsNormCase(int64_t t, int64_t d);
KernelCase RmsNormGradCase(int64_t t, int64_t d);
KernelCase LayerNormCase(int64_t t, int64_t d);
KernelCase LayerNormGradCase(int64_t t, int64_t d);
// The norms' with a residual addition in front, and their gradients with the stream's.
KernelCase AddRmsNormCase(int64_t t, int64_t d);
KernelCase AddRmsNormGradCase(int64_t t, int64_t d);
KernelCase AddLayerNormCase(int64_t t, int64_t d);
KernelCase AddLayerNormGradCase(int64_t t, int64_t d);
KernelCase RopeCase(int64_t t, HeadShape heads, bool inverse);
// Two sequences, the second of which sees no more than 5 keys.
KernelCase AttentionCase(int64_t t, HeadShape heads);
KernelCase AttentionGradCase(int64_t t, HeadShape heads);
// `t` queries and the keys of another rank, of which a few queries see none; or, with a gap, a third of the
// queries, between others that do; then there are keys that none sees.
KernelCase BlockAttentionCase(int64_t t, HeadShape heads, bool gap);
KernelCase BlockAttentionGradCase(int64_t t, HeadShape heads, bool gap);
// The same with slopes, in a block of tokens that stand elsewhere in the stream.
KernelCase AlibiAttentionCase(int64_t t, HeadShape heads);
KernelCase AlibiAttentionGradCase(int64_t t, HeadShape heads);
KernelCase AlibiBlockAttentionCase(int64_t t, HeadShape heads, bool gap);
KernelCase AlibiBlockAttentionGradCase(int64_t t, HeadShape heads, bool gap);
KernelCase MergeAttentionCase(int64_t t, int64_t heads, int64_t head_size);
KernelCase TakeColumnsCase(int64_t t, int64_t d, int64_t first, int64_t columns);
KernelCase JoinColumnsCase(int64_t t, int64_t m, int64_t n);
// Among `parts` ranks.
KernelCase SplitHeadsCase(int64_t t, HeadShape heads, int64_t parts, bool join);
// A rank in the middle of four that share two heads of `rows` rows, of two matrices.
KernelCase SharedRowsCase(int64_t rows, int64_t d);
KernelCase SharedRowsGradCase(int64_t rows, int64_t d);
KernelCase ConcatColumnsCase(int64_t t, int64_t n, int64_t m);
KernelCase SplitColumnsCase(int64_t t, int64_t n, int64_t m);
// Rank 1 of 3 of a sharded table, so that ids lie on either side of its rows, or the whole table.
KernelCase EmbeddingCase(int64_t t, int64_t v, int64_t d, bool sharded);
KernelCase EmbeddingGradCase(int64_t t, int64_t v, int64_t d, bool sharded);
// `columns` of logits on each of `ranks` ranks, this one the last; the last column of the vocabulary is
// padding.
KernelCase SoftmaxStatisticsCase(int64_t t, int64_t columns, int ranks);
KernelCase CrossEntropyLossCase(int64_t t, int64_t columns, int ranks, double z_loss = 0);
KernelCase CrossEntropyGradCase(int64_t t, int64_t columns, int ranks, double z_loss = 0);
// Of tokens' losses (kWide), or of chunks' sums of them (kF64).
KernelCase LossSumCase(Role of, int64_t t);
KernelCase LossTermSumsCase(int64_t t);
// `t` tokens, each of which chooses `k` of `e` experts; sequences of a third of the tokens.
KernelCase RouterCase(int64_t t, int64_t e, int64_t k);
KernelCase RouterGradCase(int64_t t, int64_t e, int64_t k);
KernelCase CountChoicesCase(int64_t t, int64_t e, int64_t k);
KernelCase RouterLossCase(int64_t t, int64_t e, int64_t k);
KernelCase RouterLossGradCase(int64_t t, int64_t e, int64_t k);
// With a rank of two in a ring, the tokens of both.
KernelCase DropOverflowCase(int64_t t, int64_t e, int64_t k, int64_t capacity, int cp_rank);
KernelCase CountDroppedCase(int64_t choices, int64_t rows);
// `drops`: some choices have no row.
KernelCase GroupByExpertCase(int64_t t, int64_t e, int64_t k, bool drops = false);
KernelCase ReceivedOffsetsCase(int64_t ranks, int64_t experts);
KernelCase PermuteRowsCase(int64_t t, int64_t d, int64_t k, bool drops = false);
KernelCase PermuteRowsGradCase(int64_t t, int64_t d, int64_t k, bool drops = false);
KernelCase CombineRowsCase(int64_t t, int64_t d, int64_t k, bool drops = false);
KernelCase CombineRowsGradCase(int64_t t, int64_t d, int64_t k, bool drops = false);
// Rows of four experts, the second and the last of which have none, or of many.
KernelCase GroupedLinearCase(int64_t rows, int64_t n, int64_t k, int64_t experts = 4);
KernelCase GroupedLinearInputGradCase(int64_t rows, int64_t n, int64_t k, int64_t experts = 4);
KernelCase GroupedLinearWeightGradCase(int64_t rows, int64_t n, int64_t k, int64_t experts = 4);
KernelCase SquaredNormCase(int64_t n);
KernelCase StepFactorsCase(double squared_norm);
KernelCase AdamWCase(int64_t n, bool apply);
// The parameters have the compute dtype, and lie in places of several parameters and of a shard's columns.
// `exact`: the new values have few enough digits that every backend has the same before it rounds.
KernelCase RoundedAdamWCase(int64_t n, bool exact);

// Gradients on a grid, with a few elements that do not fit it, or none.
KernelCase AddToGridCase(int64_t n, bool fits);
// Halves, what is just inside and outside the limit, and what is not finite.
KernelCase AddToGridEdgeCase();
KernelCase AccumulateWholeCase(int64_t n);
// Squares whose sum takes more than 128 bits where n is above 16.
KernelCase GridSquaredNormCase(int64_t n);
KernelCase GridSumCase(int64_t buckets, bool overflows);
KernelCase GridNormCase(bool overflows);
KernelCase FromGridCase(int64_t n);

// Those of mixture of experts, and those of them that CasesWithANaN takes.
std::vector<KernelCase> ExpertKernelCases();
std::vector<KernelCase> ExpertCasesForANaN();
// Those of products that are fused with what follows them.
std::vector<KernelCase> FusedProductKernelCases();
// Those of attention with slopes.
std::vector<KernelCase> AlibiKernelCases();
// Those of key heads that ranks share.
std::vector<KernelCase> SharedHeadKernelCases();
// Those of gradients on a grid.
std::vector<KernelCase> GridKernelCases();
// All of them, operands rounded (RoundOperands).
std::vector<KernelCase> AllKernelCases();
// Sizes for which only GPUs have branches: rows that are wider than what a block holds. Sums of so many terms
// keep to tolerances.h only where they are added in parts; the CPU's scalar fallback does not.
std::vector<KernelCase> WideKernelCases();
// Calls with a NaN in input 0, at its begin or its end, which has to show in a result.
std::vector<KernelCase> CasesWithANaN();

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_KERNEL_CASES_H_
