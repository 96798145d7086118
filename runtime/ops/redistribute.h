// The moves between layouts: the only ops that communicate, and the only ones that change a placement.
#ifndef TRIREME_RUNTIME_OPS_REDISTRIBUTE_H_
#define TRIREME_RUNTIME_OPS_REDISTRIBUTE_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// x with `placement` on `axis`. The moves, with their gradients:
//   Invariant -> Replicate    nothing (kRelabel)          gradient: all-reduce
//   Partial   -> Invariant    kAllReduce                  gradient: nothing
//   Shard(0)  -> Replicate    kAllGather                  gradient: reduce-scatter
//   Partial   -> Shard(0)     kReduceScatter              gradient: all-gather
//   I or R    -> Partial      kKeepOnFirst: the value on coordinate 0, zeros elsewhere; gradient: nothing for
//   I (the
//                             gradient of Partial is Replicate), keep on 0 for R
// Any other move aborts. On an axis of size 1 every move is a relabelling and costs nothing.
// All are (x) -> y with attribute `axis`. kAllReduce may overwrite x.
Tensor Redistribute(Tensor x, Axis axis, Placement placement);
void RedistributeGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_REDISTRIBUTE_H_
