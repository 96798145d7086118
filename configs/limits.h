// The largest sizes that a configuration may name. They keep the product of any two far from 2^63, and steps
// within the digits of a checkpoint's name.
#ifndef TRIREME_CONFIGS_LIMITS_H_
#define TRIREME_CONFIGS_LIMITS_H_

#include <cstdint>

namespace trireme {

inline constexpr int64_t kMaxSteps = 99999999;
inline constexpr int64_t kMaxExperts = 65536;
inline constexpr int64_t kMaxAxisSize = 1 << 15;
inline constexpr int64_t kMaxWidth = 1 << 20;
inline constexpr int64_t kMaxSequenceLength = 1 << 28;
inline constexpr int64_t kMaxBatch = 1 << 24;

}  // namespace trireme

#endif  // TRIREME_CONFIGS_LIMITS_H_
