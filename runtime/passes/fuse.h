// Ops that follow each other become one that reads and writes the residual stream less often.
#ifndef TRIREME_RUNTIME_PASSES_FUSE_H_
#define TRIREME_RUNTIME_PASSES_FUSE_H_

#include "runtime/program.h"

namespace trireme {

// Puts one op in the place of a residual addition and the norm of its sum (kAddRmsNorm, kAddLayerNorm), where
// the sum has no other reader between; in forward also where the norm stands in the next segment, which the
// addition then moves to. And one in the place of a norm's gradient and its addition to the stream's
// (kAddRmsNormGrad, kAddLayerNormGrad). Values, layouts and gradients stay as they are: models and
// Differentiate know nothing of it. Run it after the recompute pass, so that a segment keeps what it kept.
void FusePass(Program& program);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PASSES_FUSE_H_
