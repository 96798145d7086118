// Sums over rows (biases, norm gains): partial sums of fixed sets of rows, added up in a fixed order.
#ifndef TRIREME_RUNTIME_CUDA_COLUMN_SUMS_H_
#define TRIREME_RUNTIME_CUDA_COLUMN_SUMS_H_

#include <cstdint>

namespace trireme {

// out[c] (+)= the sum over i < count of partials[i * stride + c], for c < cols. Adds in an order that depends
// on `count` alone. Enqueues one kernel.
void AddPartialSums(const float* partials, int64_t count, int64_t stride, int64_t cols, bool accumulate,
                    float* out, void* stream);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_COLUMN_SUMS_H_
