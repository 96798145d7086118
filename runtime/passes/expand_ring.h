// Ring attention becomes what runs: hops of attention to one block of keys, and shifts.
#ifndef TRIREME_RUNTIME_PASSES_EXPAND_RING_H_
#define TRIREME_RUNTIME_PASSES_EXPAND_RING_H_

#include "runtime/recorder.h"

namespace trireme {

// Replaces every kRingAttention and kRingAttentionGrad of the recorded program. Forward: in each of cp hops
// the queries attend to the block at hand, whose result is merged into that of the hops before by
// log-sum-exp, in fp32 whatever the compute dtype; cp - 1 shifts of keys and values. Backward: the blocks
// come round again, and with each its gradient, which a last shift brings home: cp - 1 shifts of keys and
// values, cp of their gradients. Shifts travel under the hop's attention: of keys and values under that to
// the ones sent, of gradients under the next hop's.
void ExpandRingAttention(Recorder& recorder);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PASSES_EXPAND_RING_H_
