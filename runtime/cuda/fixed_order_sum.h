// The sum of a few thousand numbers in double, in an order that their number alone decides.
#ifndef TRIREME_RUNTIME_CUDA_FIXED_ORDER_SUM_H_
#define TRIREME_RUNTIME_CUDA_FIXED_ORDER_SUM_H_

#include <cstdint>

#include "runtime/cuda/gpu.h"

namespace trireme {

inline constexpr int kSumThreads = 1024;

// A block of kSumThreads for each column of the numbers, which lie row by row: sums[c] is that of x[c],
// x[c + gridDim.x], ... below n.
template <typename T>
GPU_KERNEL(kSumThreads)
FixedOrderSumKernel(int64_t n, const T* x, double* sums) {
  double own = 0;
#pragma unroll 4
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * gridDim.x + blockIdx.x; i < n;
       i += static_cast<int64_t>(kSumThreads) * gridDim.x) {
    own += static_cast<double>(x[i]);
  }
  own = BlockSum(own);
  if (threadIdx.x == 0) sums[blockIdx.x] = own;
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_FIXED_ORDER_SUM_H_
