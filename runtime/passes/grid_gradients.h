// Parameter gradients that are added up on a grid.
#ifndef TRIREME_RUNTIME_PASSES_GRID_GRADIENTS_H_
#define TRIREME_RUNTIME_PASSES_GRID_GRADIENTS_H_

#include "runtime/ops/gradient_grid.h"
#include "runtime/recorder.h"

namespace trireme {

// In a differentiated chunk, what a segment adds to a parameter's gradient becomes a wide value of that
// micro-batch alone, which kAddToGrid then adds to the gradient, now i64. A segment never lies on two ranks,
// so what is added is the same on every mesh; a tied parameter's two segments are added on the grid. Sets
// Program::grid_overflow. To be run last, when composites are expanded and backward is split.
void GridGradients(Recorder& recorder, const GradientGrid& grid);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PASSES_GRID_GRADIENTS_H_
