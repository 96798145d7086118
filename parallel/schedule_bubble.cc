#include "parallel/schedule_bubble.h"

#include <glog/logging.h>

namespace trireme {

double PublishedBubble(ScheduleKind kind, int num_stages, int virtual_stages, int num_micro_batches) {
  const double p = num_stages, v = virtual_stages, m = num_micro_batches;
  switch (kind) {
    case ScheduleKind::k1F1B:
    case ScheduleKind::kGPipe:
      return (p - 1) / (m + p - 1);
    case ScheduleKind::kInterleaved: {
      const int groups = (num_micro_batches + num_stages - 1) / num_stages;
      const double whole_groups = groups * num_stages;
      return 1 - v * m / (v * whole_groups + p - 1);
    }
    case ScheduleKind::kZeroBubbleH1:
      return (p - 1) / (3 * m + p - 1);
    case ScheduleKind::kZeroBubbleV:
      return (p - 1) / (6 * m + p - 1);
  }
  LOG(FATAL) << "no schedule " << static_cast<int>(kind);
}

const char* PublishedFormula(ScheduleKind kind) {
  constexpr const char* kFormulas[] = {
      "(p - 1) / (m + p - 1), arXiv:2006.09503", "(p - 1) / (m + p - 1), arXiv:1811.06965",
      "(p - 1) / (v m + p - 1), arXiv:2104.04473", "(p - 1) / (3 m + p - 1), arXiv:2401.10241",
      "(p - 1) / (6 m + p - 1), arXiv:2401.10241"};
  return kFormulas[static_cast<int>(kind)];
}

}  // namespace trireme
