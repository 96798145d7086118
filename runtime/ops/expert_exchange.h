// Expert parallelism: rows travel to the ranks of ep that hold their experts, and the results back. Rank r of
// P holds experts [r E / P, (r + 1) E / P).
#ifndef TRIREME_RUNTIME_OPS_EXPERT_EXCHANGE_H_
#define TRIREME_RUNTIME_OPS_EXPERT_EXCHANGE_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// The placement on ep of experts' matrices: Shard(0), and Invariant where ep has size 1.
Placement OfExperts(const Recorder& recorder);

// The rows that this rank's experts compute.
struct ExpertRows {
  Tensor rows;  // [B, D], sorted by expert, those of one expert by the rank that they come from; B is a bound
  Tensor offsets;  // i32 [E / P + 1]: rows [offsets[e], offsets[e + 1]) are the e-th own expert's
  // How they came: what each rank sent to whom. Absent where ep has size 1.
  Tensor sent_offsets;      // i32 [E + 1]: of this rank's rows, before they left
  Tensor received_offsets;  // i32 [P, E / P + 1]: of each rank's rows, those for the own experts
};

// Sends each row to the rank that holds its expert. No row is dropped: B is what arrives if all tokens of all
// ranks choose the experts of one. On an ep of size 1 the rows stay.
//   rows     [T k, D]     sorted by expert (PermuteRows); each token chose k experts
//   most_of_expert        the most of them that one expert can have; T where none is dropped
//   offsets  i32 [E + 1]  of GroupByExpert; P divides E
// kExchangeOffsets: (offsets) -> received_offsets. Never repeated in backward.
// kReceivedOffsets: (received_offsets) -> offsets of the rows received. Never repeated in backward.
// kDispatchRows: (rows, sent_offsets, received_offsets) -> rows [B, D]; the rows behind the last are
// undefined
ExpertRows DispatchRows(Tensor rows, Tensor offsets, int64_t k, int64_t most_of_expert);
void DispatchRowsGradient(GradientContext& g);

// The way back: results [B, D] of `rows`, each to where its row came from.
// kReturnRows: (results, sent_offsets, received_offsets) -> [T k, D]. Each is the other's gradient.
Tensor ReturnRows(Tensor results, const ExpertRows& rows, int64_t num_rows);
void ReturnRowsGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_EXPERT_EXCHANGE_H_
