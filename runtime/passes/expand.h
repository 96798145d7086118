// Composite ops become the ops that run.
#ifndef TRIREME_RUNTIME_PASSES_EXPAND_H_
#define TRIREME_RUNTIME_PASSES_EXPAND_H_

#include "runtime/recorder.h"

namespace trireme {

// Replaces every kLinearCrossEntropy and kLinearCrossEntropyGrad of the recorded program by products and
// statistics over chunks of rows, so that no more than `logits_bytes` of logits exist at a time (but at least
// 16 rows). Where the vocabulary is sharded, each chunk costs one all-gather of three numbers a row; every
// rank merges them in rank order.
void ExpandCrossEntropy(Recorder& recorder, int64_t logits_bytes = int64_t{32} << 20);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PASSES_EXPAND_H_
