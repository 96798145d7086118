// Gradients as whole numbers on a grid. Integer sums: their order is free, and the bits are those of the
// definition. Floors, n elements: AddToGrid 12 n bytes, adding 20 n; GridSquaredNorm 8 n; FromGrid 12 n;
// accumulating whole numbers 24 n.
#include <glog/logging.h>

#include <cmath>

#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/parts.h"
#include "runtime/ops/gradient_grid.h"

namespace trireme {
namespace {

constexpr int kThreads = 256;
constexpr int kLanes = 4;                     // 16 bytes of floats, 32 of whole numbers
constexpr int64_t kElementsPerSum = 1 << 16;  // of a squared norm, that a block adds up
constexpr int kLimbBits = 32;
constexpr int64_t kLimbMask = (int64_t{1} << kLimbBits) - 1;

using Uint128 = unsigned __int128;

// Some element of this thread does not fit the grid. Atomic, as any block may find one; all write the same.
GPU_FN void Mark(bool overflows, int64_t* overflow) {
  if (__syncthreads_or(overflows ? 1 : 0) != 0 && threadIdx.x == 0) {
    atomicExch(reinterpret_cast<unsigned long long*>(overflow), 1ull);
  }
}

// A power of two times x is exact in double. What does not fit, a NaN among it, counts as 0 and says so.
struct ToQuanta {
  double scale;
  double limit;

  GPU_FN int64_t operator()(float x, bool* overflows) const {
    const double quanta = rint(static_cast<double>(x) * scale);
    const bool fits = fabs(quanta) < limit;
    *overflows |= !fits;
    return fits ? static_cast<int64_t>(quanta) : 0;
  }
};

// kAdds: to what is there.
template <bool kAligned, bool kAdds>
GPU_KERNEL(kThreads)
AddToGridKernel(ToQuanta to_quanta, int64_t n, const float* x, int64_t* sums, int64_t* overflow) {
  const int64_t i = GridThread() * kLanes;
  bool overflows = false;
  if (kAligned && GPU_BRANCH(whole_vectors, n - i >= kLanes)) {
    const Vec<float, kLanes> lanes = LoadStreaming<kLanes>(x + i);
    Vec<int64_t, kLanes> whole{};
    if constexpr (kAdds) whole = LoadStreaming<kLanes>(sums + i);
#pragma unroll
    for (int j = 0; j < kLanes; ++j) whole[j] += to_quanta(lanes[j], &overflows);
    StoreStreaming(sums + i, whole);
  } else {
#pragma unroll
    for (int j = 0; j < kLanes; ++j) {
      if (i + j < n) sums[i + j] = (kAdds ? sums[i + j] : 0) + to_quanta(x[i + j], &overflows);
    }
  }
  Mark(overflows, overflow);
}

template <bool kAligned>
GPU_KERNEL(kThreads)
FromGridKernel(double quantum, int64_t n, const int64_t* gradient, float* wide) {
  const int64_t i = GridThread() * kLanes;
  const auto of = [quantum](int64_t whole) {
    return static_cast<float>(static_cast<double>(whole) * quantum);
  };
  if (kAligned && GPU_BRANCH(whole_vectors, n - i >= kLanes)) {
    const Vec<int64_t, kLanes> whole = LoadStreaming<kLanes>(gradient + i);
    Vec<float, kLanes> lanes;
#pragma unroll
    for (int j = 0; j < kLanes; ++j) lanes[j] = of(whole[j]);
    Store(wide + i, lanes);  // AdamW reads it next
  } else {
#pragma unroll
    for (int j = 0; j < kLanes; ++j) {
      if (i + j < n) wide[i + j] = of(gradient[i + j]);
    }
  }
}

template <bool kAligned>
GPU_KERNEL(kThreads)
AccumulateWholeKernel(int64_t n, const int64_t* x, int64_t* y) {
  const int64_t i = GridThread() * kLanes;
  if (kAligned && GPU_BRANCH(whole_vectors, n - i >= kLanes)) {
    const Vec<int64_t, kLanes> lanes = LoadStreaming<kLanes>(x + i);
    Vec<int64_t, kLanes> sums = Load<kLanes>(y + i);
#pragma unroll
    for (int j = 0; j < kLanes; ++j) sums[j] += lanes[j];
    Store(y + i, sums);
  } else {
#pragma unroll
    for (int j = 0; j < kLanes; ++j) {
      if (i + j < n) y[i + j] += x[i + j];
    }
  }
}

// A number in limbs, which need not be carried.
struct Limbs {
  uint64_t of[kGridLimbs];
};

// partial[c] = the sum of the squares of chunk c. A thread adds the halves of its squares by themselves,
// 128 bits wide; a block adds limbs, each of its threads' below 2^32.
template <bool kAligned>
GPU_KERNEL(kThreads)
GridSquaredNormKernel(int64_t n, const int64_t* gradient, Limbs* partial) {
  constexpr int kPair = kVectorSize<int64_t>;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kElementsPerSum;
  const int64_t end = Min<int64_t>(n, begin + kElementsPerSum);
  Uint128 low = 0;
  Uint128 high = 0;
#pragma unroll 4
  for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * kPair; i < end; i += kThreads * kPair) {
    Vec<int64_t, kPair> g{};
    if (kAligned && GPU_BRANCH(whole_vectors, end - i >= kPair)) {
      g = LoadStreaming<kPair>(gradient + i);
    } else {
#pragma unroll
      for (int j = 0; j < kPair; ++j) g[j] = i + j < end ? gradient[i + j] : 0;
    }
#pragma unroll
    for (int j = 0; j < kPair; ++j) {
      const auto bits = static_cast<uint64_t>(g[j]);
      const Uint128 size = g[j] < 0 ? 0 - bits : bits;
      const Uint128 square = size * size;
      low += static_cast<uint64_t>(square);
      high += static_cast<uint64_t>(square >> 64);
    }
  }
  high += static_cast<uint64_t>(low >> 64);
  const uint64_t words[] = {static_cast<uint64_t>(low), static_cast<uint64_t>(high),
                            static_cast<uint64_t>(high >> 64)};
  uint64_t limbs[kGridLimbs];
#pragma unroll
  for (int j = 0; j < kGridLimbs; ++j) limbs[j] = words[j / 2] >> (j % 2 * kLimbBits) & kLimbMask;
  BlockSum(limbs);
  if (threadIdx.x == 0) {
#pragma unroll
    for (int j = 0; j < kGridLimbs; ++j) partial[blockIdx.x].of[j] = limbs[j];
  }
}

// The block's sum of `rows` numbers, limb by limb, in all threads.
GPU_FN void SumRows(int64_t rows, const Limbs* numbers, uint64_t (&sums)[kGridLimbs]) {
#pragma unroll
  for (int j = 0; j < kGridLimbs; ++j) sums[j] = 0;
  for (int64_t row = threadIdx.x; row < rows; row += kThreads) {
#pragma unroll
    for (int j = 0; j < kGridLimbs; ++j) sums[j] += numbers[row].of[j];
  }
  BlockSum(sums);
}

// One block.
GPU_KERNEL(kThreads)
GridCarryKernel(int64_t chunks, const Limbs* partial, int64_t* carried) {
  uint64_t sums[kGridLimbs];
  SumRows(chunks, partial, sums);
  if (threadIdx.x != 0) return;
  uint64_t carry = 0;
#pragma unroll
  for (int j = 0; j < kGridLimbs; ++j) {
    carry += sums[j];
    carried[j] = static_cast<int64_t>(carry & kLimbMask);
    carry >>= kLimbBits;
  }
}

// One block.
GPU_KERNEL(kThreads)
GridSumKernel(int64_t buckets, const Limbs* norms, int64_t* overflow, int64_t* sums) {
  uint64_t limbs[kGridLimbs];
  SumRows(buckets, norms, limbs);
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int j = 0; j < kGridLimbs; ++j) sums[j] = static_cast<int64_t>(limbs[j]);
  sums[kGridLimbs] = *overflow;
  *overflow = 0;
}

// One thread. Carried first: from here on the same number has the same bits.
GPU_KERNEL(kWarpSize)
GridNormKernel(int exponent, const int64_t* sums, double* squared_norm) {
  if (threadIdx.x != 0) return;
  int64_t limbs[kGridLimbs];
  int64_t carry = 0;
#pragma unroll
  for (int j = 0; j < kGridLimbs; ++j) {
    carry += sums[j];
    limbs[j] = carry & kLimbMask;
    carry >>= kLimbBits;
  }
  auto number = static_cast<double>(carry);
#pragma unroll
  for (int j = kGridLimbs - 1; j >= 0; --j) number = number * 0x1p32 + static_cast<double>(limbs[j]);
  const bool overflows = sums[kGridLimbs] != 0;
  *squared_norm = overflows ? std::numeric_limits<double>::infinity() : ldexp(number, 2 * exponent);
}

int ExponentOf(const KernelArguments& a) {
  return static_cast<int>(a.op.attributes.Int("exponent"));
}

// A thread for each kLanes elements.
unsigned GridOfLanes(int64_t n) {
  return GridOf(CeilDiv<int64_t>(n, kThreads * kLanes));
}

}  // namespace

void AddToGridCuda(const KernelArguments& a) {
  const float* x = WideOf(a.inputs[0]);
  auto* sums = a.outputs[0].as<int64_t>();
  const ToQuanta to_quanta = {std::ldexp(1.0, -ExponentOf(a)),
                              static_cast<double>(a.op.attributes.Int("limit"))};
  const bool aligned = IsVectorAligned(x) && IsVectorAligned(sums);
  const auto kernel = aligned ? (a.accumulate ? AddToGridKernel<true, true> : AddToGridKernel<true, false>)
                              : (a.accumulate ? AddToGridKernel<false, true> : AddToGridKernel<false, false>);
  const int64_t n = a.inputs[0].shape.num_elements();
  GPU_LAUNCH(kernel, GridOfLanes(n), kThreads, 0, a.stream, to_quanta, n, x, sums,
             a.outputs[1].as<int64_t>());
}

void FromGridCuda(const KernelArguments& a) {
  const auto* gradient = a.inputs[0].as<const int64_t>();
  float* wide = WideOf(a.outputs[0]);
  const bool aligned = IsVectorAligned(gradient) && IsVectorAligned(wide);
  const auto kernel = aligned ? FromGridKernel<true> : FromGridKernel<false>;
  const int64_t n = a.inputs[0].shape.num_elements();
  GPU_LAUNCH(kernel, GridOfLanes(n), kThreads, 0, a.stream, std::ldexp(1.0, ExponentOf(a)), n, gradient,
             wide);
}

void AccumulateWholeCuda(const KernelArguments& a) {
  const auto* x = a.inputs[0].as<const int64_t>();
  auto* y = a.outputs[0].as<int64_t>();
  const int64_t n = a.outputs[0].shape.num_elements();
  if (!a.accumulate) {
    CHECK_EQ(cudaMemcpyAsync(y, x, n * static_cast<int64_t>(sizeof(int64_t)), cudaMemcpyDeviceToDevice,
                             static_cast<cudaStream_t>(a.stream)),
             cudaSuccess);
    return;
  }
  const auto kernel =
      IsVectorAligned(x) && IsVectorAligned(y) ? AccumulateWholeKernel<true> : AccumulateWholeKernel<false>;
  GPU_LAUNCH(kernel, GridOfLanes(n), kThreads, 0, a.stream, n, x, y);
}

int64_t GridSquaredNormCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                          absl::Span<const View> outputs, int num_threads) {
  (void)op;
  (void)outputs;
  (void)num_threads;
  return CeilDiv(inputs[0].shape.num_elements(), kElementsPerSum) * static_cast<int64_t>(sizeof(Limbs));
}

void GridSquaredNormCuda(const KernelArguments& a) {
  const auto* gradient = a.inputs[0].as<const int64_t>();
  const int64_t n = a.inputs[0].shape.num_elements();
  const int64_t chunks = CeilDiv(n, kElementsPerSum);
  auto* partial = static_cast<Limbs*>(a.workspace);
  const auto kernel = IsVectorAligned(gradient) ? GridSquaredNormKernel<true> : GridSquaredNormKernel<false>;
  GPU_LAUNCH(kernel, GridOf(chunks), kThreads, 0, a.stream, n, gradient, partial);
  GPU_LAUNCH(GridCarryKernel, 1, kThreads, 0, a.stream, chunks, partial, a.outputs[0].as<int64_t>());
}

void GridSumCuda(const KernelArguments& a) {
  GPU_LAUNCH(GridSumKernel, 1, kThreads, 0, a.stream, a.inputs[0].shape.rows(), a.inputs[0].as<const Limbs>(),
             a.outputs[1].as<int64_t>(), a.outputs[0].as<int64_t>());
}

void GridNormCuda(const KernelArguments& a) {
  GPU_LAUNCH(GridNormKernel, 1, kWarpSize, 0, a.stream, ExponentOf(a), a.inputs[0].as<const int64_t>(),
             a.outputs[0].as<double>());
}

}  // namespace trireme
