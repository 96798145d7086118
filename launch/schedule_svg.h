// A pipeline schedule as a drawing.
#ifndef TRIREME_LAUNCH_SCHEDULE_SVG_H_
#define TRIREME_LAUNCH_SCHEDULE_SVG_H_

#include <string>

#include "parallel/schedule_simulator.h"

namespace trireme {

// A row a stage, time to the right: forward, backward (whole, or its input's part) and the weights' part in
// three colours, odd chunks paler, each with its micro-batch's number where it fits. The text outside the
// boxes follows the reader's light or dark scheme. `title` is plain text.
std::string ScheduleSvg(const PipelineSimulation& simulation, const std::string& title);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_SCHEDULE_SVG_H_
