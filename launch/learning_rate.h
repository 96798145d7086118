#ifndef TRIREME_LAUNCH_LEARNING_RATE_H_
#define TRIREME_LAUNCH_LEARNING_RATE_H_

#include <cstdint>

#include "configs/config.pb.h"

namespace trireme {

// The learning rate of step `step` (from 1): a pure function of the configuration. During warm-up it rises
// linearly, step w of W having w / W of the peak. Then, with r = min_learning_rate_ratio and D = decay_steps:
//   constant  the peak
//   linear    from the peak at step W to r times it at step D
//   cosine    the same along half a cosine (arXiv:1608.03983, without restarts)
//   wsd       the peak, then linearly down to r times it over the last D steps of train.steps
//   (arXiv:2404.06395)
double LearningRate(const Config& config, int64_t step);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_LEARNING_RATE_H_
