// The idle share of a pipeline as its papers state it, to print and to test schedules against.
#ifndef TRIREME_PARALLEL_SCHEDULE_BUBBLE_H_
#define TRIREME_PARALLEL_SCHEDULE_BUBBLE_H_

#include "parallel/schedule.h"

namespace trireme {

// The idle share of num_stages * (the step's time), for pieces of work of equal cost: backward takes twice a
// forward, and its two parts as long as each other; messages take no time. `virtual_stages` as of PlaceIn.
//   1f1b, gpipe  (p - 1) / (m + p - 1)      arXiv:2006.09503, arXiv:1811.06965
//   interleaved  (p - 1) / (v m + p - 1)    arXiv:2104.04473; where p does not divide m, at most
//                                           1 - v m / (v M + p - 1), with M that is m rounded up
//   zb-h1        (p - 1) / (3 m + p - 1)    arXiv:2401.10241, for m >= p
//   zb-v         (p - 1) / (6 m + p - 1)    the same: a stage that has begun is never idle, for m >= 2 p;
//                                           what remains is the wait for the first micro-batch
double PublishedBubble(ScheduleKind kind, int num_stages, int virtual_stages, int num_micro_batches);

// "(p - 1) / (m + p - 1), arXiv:2006.09503".
const char* PublishedFormula(ScheduleKind kind);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_SCHEDULE_BUBBLE_H_
