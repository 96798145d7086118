// A rank's timeline as text that Perfetto and chrome://tracing read.
#ifndef TRIREME_LAUNCH_TIMELINE_JSON_H_
#define TRIREME_LAUNCH_TIMELINE_JSON_H_

#include <string>

#include "runtime/timeline.h"

namespace trireme {

struct TimelineProcess {
  int rank = 0;
  std::string name;           // "pp 1, dp 0, tp 0"; plain text
  double origin_seconds = 0;  // what is time 0 in the text, on this rank's clock
};

// JSON objects separated by ",\n": Chrome's trace events, complete ones ("X", microseconds) and the names of
// rows ("M"). A process is a rank. Its rows:
//   compute   segments, the ops within them, waits for messages, copies; a gap within a segment is a
//   collective a channel ("tp", "dp,cp", "activations to the next stage"): collectives within segments and
//   messages from
//             start to end; those that overlap lie on rows "dp,cp (2)", ...
//   host      whole steps and the filling of inputs
// Each has `args`: step, micro_batch, phase (forward, backward, backward_weight, recompute, optimizer),
// block, and bytes where something moves between ranks: those of what this rank gives, or receives. Source of
// the format: "Trace Event Format", the Chromium project.
std::string TimelineJson(const Timeline& timeline, const TimelineProcess& process);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_TIMELINE_JSON_H_
