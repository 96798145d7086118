// Memory and time for benchmarks of a device's kernels.
#ifndef TRIREME_RUNTIME_BENCH_TIME_H_
#define TRIREME_RUNTIME_BENCH_TIME_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/device.h"

namespace trireme {

// Fills memory of the device with numbers from -2 to 2 in steps of 1/64 (f32 or bf16): never zeros, of which
// products are faster.
void FillWithNumbers(const View& view, Device& device);
// Copies whole numbers there (i32 or i64).
void FillWith(const std::vector<int64_t>& values, const View& view, Device& device);

// A kernel's operands, and memory of the device for it to work in. The arrays have to outlive it.
KernelArguments ArgumentsOf(const Op& op, const std::vector<View>& inputs, const std::vector<View>& outputs,
                            bool accumulate, Device& device);

// Seconds of one call of `enqueue`, which enqueues work on stream 0: the least of `repetitions` tries after
// one that warms up. Where the host does not do the work itself, a try is as many calls as take 10 ms, so
// that the way to the device is not measured.
double SecondsOfOne(const std::function<void()>& enqueue, int repetitions, Device& device);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_BENCH_TIME_H_
