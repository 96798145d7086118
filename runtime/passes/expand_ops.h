// How a pass replaces composites by the ops that they expand to.
#ifndef TRIREME_RUNTIME_PASSES_EXPAND_OPS_H_
#define TRIREME_RUNTIME_PASSES_EXPAND_OPS_H_

#include <utility>
#include <vector>

#include "runtime/recorder.h"

namespace trireme {

// Where `is_composite(op)`, the op gives place to what `expand(op)` records.
template <typename IsComposite, typename Expand>
void ExpandOps(Recorder& recorder, IsComposite is_composite, Expand expand) {
  Program& program = recorder.program();
  for (size_t s = 0; s < program.segments.size(); ++s) {
    std::vector<Op> ops;
    for (const Op& op : std::vector<Op>(program.segments[s].ops)) {
      if (!is_composite(op)) {
        ops.push_back(op);
        continue;
      }
      // Record into a segment of its own at the end, then move the ops to their place.
      recorder.BeginSegment("expansion", program.segments[s].region);
      expand(op);
      for (Op& expanded : program.segments.back().ops) {
        expanded.recomputed = op.recomputed;
        ops.push_back(std::move(expanded));
      }
      program.segments.pop_back();
    }
    program.segments[s].ops = std::move(ops);
  }
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PASSES_EXPAND_OPS_H_
