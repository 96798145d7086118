// Splits backward for schedules that let the weights' part wait.
#ifndef TRIREME_RUNTIME_PASSES_SPLIT_BACKWARD_H_
#define TRIREME_RUNTIME_PASSES_SPLIT_BACKWARD_H_

#include "runtime/program.h"

namespace trireme {

// Takes out of backward what only parameter gradients need, into segments of region kBackwardWeight that
// follow in the same order. What stays is what the stage in front waits for (stage_input_gradient) and the
// loss; an op that makes both stays. On the first stage nobody waits: everything may go. To be run on a
// differentiated program before composites are expanded: so the head's gradients stay together, and its
// logits need not be kept until the weights' turn. Price: what both parts read is kept from the one to the
// other, recomputed values too.
void SplitBackward(Program& program);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PASSES_SPLIT_BACKWARD_H_
