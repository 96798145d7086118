// The sum of a few thousand numbers in double, in an order that their number alone decides.
#ifndef TRIREME_RUNTIME_CUDA_FIXED_ORDER_SUM_H_
#define TRIREME_RUNTIME_CUDA_FIXED_ORDER_SUM_H_

#include <cstdint>

#include "runtime/cuda/gpu.h"

namespace trireme {

inline constexpr int kSumThreads = 1024;

// One block of kSumThreads.
template <typename T>
GPU_KERNEL(kSumThreads)
FixedOrderSumKernel(int64_t n, const T* x, double* sum) {
  double own = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < n; i += kSumThreads) own += static_cast<double>(x[i]);
  own = BlockSum(own);
  if (threadIdx.x == 0) *sum = own;
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_FIXED_ORDER_SUM_H_
