// The language that kernels are written in: CUDA C++ without PTX, launches and shared-memory declarations.
//
// nvcc compiles a kernel for the GPU with the bodies below; g++ compiles the very same source for the CPU,
// where <gpu_emulator.h> (on the include path of test builds only) serves everything up to "Built on the
// above" with the same names and meaning. What CUDA C++ itself has keeps CUDA's name and is usable in kernels
// as it is:
//   threadIdx blockIdx blockDim gridDim; float2 float4 int2 int4 uint2 uint4 and make_*; __restrict__
//   __syncthreads __syncthreads_or/and/count __syncwarp __shfl_sync __shfl_{up,down,xor}_sync __ballot_sync
//   __any_sync __all_sync __reduce_{add,min,max,and,or,xor}_sync (32-bit)
//   atomicAdd/Sub/Min/Max/And/Or/Exch/CAS on int, unsigned and unsigned long long (order floats otherwise: no
//   float atomics), __threadfence, __threadfence_block, __nanosleep, __trap
//   __ldg __ldcg __ldcs __stcg __stcs; __float_as_uint __uint_as_float __float_as_int __int_as_float
//   __double_as_longlong __longlong_as_double __popc __ffs __clz __brev __umulhi; rsqrtf and the functions of
//   <math.h>
// House names are for what needs PTX, for what the two compilers spell differently, and for what is ours.
//
// Rules. A kernel is GPU_KERNEL(max_threads[, min_blocks]) Name(...), in an anonymous namespace; blocks are
// one-dimensional (LaneId, WarpId and the block sums rely on it) and whole warps. All 32 lanes take part in a
// collective that does not say otherwise; no thread returns before a barrier that others take. No block waits
// for another. Indices into global memory are int64_t. Results never depend on the order in which blocks run.
#ifndef TRIREME_RUNTIME_CUDA_GPU_H_
#define TRIREME_RUNTIME_CUDA_GPU_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <glog/logging.h>

// Kernels, functions of the device, and functions of both sides.
#define GPU_KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)
#define GPU_FN __device__ __forceinline__
#define GPU_HD __host__ __device__ __forceinline__
// Marks a kernel parameter `GPU_GRID_CONSTANT const T name` whose address may be taken (tensor maps).
#define GPU_GRID_CONSTANT __grid_constant__

// SMEM(float, tile, [2][64]); declares float tile[2][64] in shared memory, 16-byte aligned, contents
// undefined. A scalar is an array of [1].
#define SMEM(type, name, dims) __shared__ __align__(16) type name dims
// DSMEM(type, name); declares `type* name`: the dynamic shared memory of the launch, 1024-byte aligned.
// One a kernel, carved up by hand.
#define DSMEM(type, name)                                                    \
  extern __shared__ __align__(1024) unsigned char trireme_dynamic_shared_[]; \
  type* const name = reinterpret_cast<type*>(trireme_dynamic_shared_)

// GPU_BRANCH(name, condition): the condition, where sizes decide it and both ways are code of the kernel.
// Tests in the emulator fail where a way that an instance of the kernel has was never gone.
#define GPU_BRANCH(name, ...) (__VA_ARGS__)

// GPU_LAUNCH(kernel, grid, block, dynamic_shared_bytes, stream, arguments...): enqueues the kernel on
// `stream` (a cudaStream_t or KernelArguments::stream). A grid of no blocks runs nothing. Up to 227 KiB of
// dynamic shared memory. A kernel that is a template with a comma stands in parentheses. An error of the
// launch is fatal.
#define GPU_LAUNCH(kernel, ...) ::trireme::GpuLaunch(#kernel, kernel, __VA_ARGS__)

namespace trireme {

using bf16 = __nv_bfloat16;

template <typename... Parameters, typename... Arguments>
void GpuLaunch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
               size_t dynamic_shared_bytes, void* stream, Arguments&&... arguments) {
  constexpr size_t kSharedBytesWithoutAsking = 48 * 1024;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (dynamic_shared_bytes > kSharedBytesWithoutAsking) {
    const cudaError_t refused = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                     static_cast<int>(dynamic_shared_bytes));
    CHECK_EQ(refused, cudaSuccess) << name << " wants " << dynamic_shared_bytes
                                   << " bytes of shared memory: " << cudaGetErrorString(refused);
  }
  kernel<<<grid, block, dynamic_shared_bytes, static_cast<cudaStream_t>(stream)>>>(
      static_cast<Parameters>(arguments)...);
  const cudaError_t launched = cudaGetLastError();
  CHECK_EQ(launched, cudaSuccess) << name << ", " << grid.x << " x " << grid.y << " x " << grid.z
                                  << " blocks of " << block.x << ": " << cudaGetErrorString(launched);
}

// bf16 <-> float. To bf16 rounds to nearest, ties to even; a NaN becomes 0x7fff.
GPU_HD float ToFloat(float x) {
  return x;
}
GPU_HD float ToFloat(bf16 x) {
  return __bfloat162float(x);
}
template <typename T>
GPU_HD T FromFloat(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return __float2bfloat16_rn(x);
  } else {
    static_assert(std::is_same_v<T, float>);
    return x;
  }
}
// Two bf16 in a register, `low` in the lower half (the one at the lower address).
GPU_FN uint32_t PackBf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

// Approximations by the special function unit; subnormals are zero. Relative error about 2^-22, or absolute
// for the logarithm near 1. FastDivide(x, y) is 0 for |y| > 2^126.
GPU_FN float FastExp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
GPU_FN float FastLog2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
GPU_FN float FastRsqrt(float x) {
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
GPU_FN float FastDivide(float x, float y) {
  return __fdividef(x, y);
}

// An address in shared memory as the asynchronous and matrix instructions take it, in bytes; sums of it are
// addresses too.
using SharedAddress = uint32_t;
GPU_FN SharedAddress SharedAddressOf(const void* shared) {
  return static_cast<SharedAddress>(__cvta_generic_to_shared(shared));
}

// Copies 16 aligned bytes from global to shared memory, or writes 16 zeros if !valid (`global` is then not
// read, but must be an aligned address). CpAsyncCommit closes a group of copies; CpAsyncWait<N> returns when
// all groups of this thread but the N youngest are there. Other threads see them after a barrier that follows
// the wait.
GPU_FN void CpAsync16(SharedAddress shared, const void* global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}
GPU_FN void CpAsync16(void* shared, const void* global, bool valid = true) {
  CpAsync16(SharedAddressOf(shared), global, valid);
}
GPU_FN void CpAsyncCommit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int kPending>
GPU_FN void CpAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Loads four 8x8 matrices of 16-bit elements. Lane i gives the address of row i % 8 of matrix i / 8 (16
// aligned bytes). registers[m] of a lane then holds elements 2 * (lane % 4) and + 1 of row lane / 4 of matrix
// m; after LdMatrixTrans, of column lane / 4: the matrix is transposed on the way.
GPU_FN void LdMatrix(uint32_t (&registers)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(row)
               : "memory");
}
GPU_FN void LdMatrixTrans(uint32_t (&registers)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(row)
               : "memory");
}

// c [16, 8] += a [16, 16] * b [16, 8], bf16 products summed in float. With group = lane / 4 and pair = 2 *
// (lane % 4):
//   c  {row group, columns pair, pair + 1}, {row group + 8, the same columns}
//   a  {row group, k pair, + 1}, {row group + 8, same k}, {row group, k pair + 8, + 9}, {row group + 8, k
//   pair + 8, + 9} b  b0 {k pair, + 1, column group}, b1 {k pair + 8, + 9, column group}
// Thus a is LdMatrix of a row-major tile; b is LdMatrix of a tile stored [column][k], or LdMatrixTrans of
// [k][column].
GPU_FN void MmaBf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

inline constexpr unsigned kFullMask = 0xffffffffu;

// The value of another lane; types of 1, 2, 4 or 8 bytes.
template <typename T>
GPU_FN T Shuffle(T value, int lane) {
  return __shfl_sync(kFullMask, value, lane);
}
template <typename T>
GPU_FN T ShuffleXor(T value, int lane_mask) {
  return __shfl_xor_sync(kFullMask, value, lane_mask);
}
template <typename T>
GPU_FN T ShuffleUp(T value, int delta) {
  return __shfl_up_sync(kFullMask, value, delta);
}
template <typename T>
GPU_FN T ShuffleDown(T value, int delta) {
  return __shfl_down_sync(kFullMask, value, delta);
}
GPU_FN unsigned Ballot(bool predicate) {
  return __ballot_sync(kFullMask, predicate);
}

// The sum or maximum over the warp, in every lane the same bits: (lane) + (lane ^ 16), then ^ 8, 4, 2, 1.
// With kLanes less than 32, over each group of that many neighbouring lanes.
template <int kLanes = 32, typename T>
GPU_FN T WarpSum(T value) {
#pragma unroll
  for (int mask = kLanes / 2; mask > 0; mask /= 2) value += __shfl_xor_sync(kFullMask, value, mask);
  return value;
}
template <int kLanes = 32, typename T>
GPU_FN T WarpMax(T value) {
#pragma unroll
  for (int mask = kLanes / 2; mask > 0; mask /= 2) {
    const T other = __shfl_xor_sync(kFullMask, value, mask);
    value = value > other ? value : other;
  }
  return value;
}

}  // namespace trireme

#else  // the emulator

#include <gpu_emulator.h>

#endif

// Built on the above, for both compilers.
namespace trireme {

inline constexpr int kWarpSize = 32;
inline constexpr int kMaxWarps = 32;  // of a block

GPU_FN int LaneId() {
  return static_cast<int>(threadIdx.x) % kWarpSize;
}
GPU_FN int WarpId() {
  return static_cast<int>(threadIdx.x) / kWarpSize;
}
// Where an element-wise kernel starts, and how far it strides: for (i = GridThread(); i < n; i +=
// GridThreads()).
GPU_FN int64_t GridThread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
GPU_FN int64_t GridThreads() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

// The sum over the lanes up to and with this one.
template <typename T>
GPU_FN T InclusiveWarpScan(T value) {
#pragma unroll
  for (int delta = 1; delta < kWarpSize; delta *= 2) {
    const T below = ShuffleUp(value, delta);
    if (LaneId() >= delta) value += below;
  }
  return value;
}

template <typename T>
GPU_HD constexpr T CeilDiv(T a, T b) {
  return (a + b - 1) / b;
}
template <typename T>
GPU_HD constexpr T Min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
GPU_HD constexpr T Max(T a, T b) {
  return a < b ? b : a;
}

// exp and log of natural base by the fast ones of base 2.
GPU_FN float FastExp(float x) {
  return FastExp2(x * 1.4426950408889634f);
}
GPU_FN float FastLog(float x) {
  return FastLog2(x) * 0.6931471805599453f;
}

inline constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();

// N neighbours in memory: a register array that is loaded and stored in pieces of 16 bytes, or as one piece
// if it is smaller. kVectorSize<T> is how many elements 16 bytes hold.
template <typename T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Vec {
  static_assert((sizeof(T) * N) % 16 == 0 || 16 % (sizeof(T) * N) == 0);

  T values[N];

  GPU_HD T& operator[](int i) { return values[i]; }
  GPU_HD const T& operator[](int i) const { return values[i]; }
};
template <typename T>
inline constexpr int kVectorSize = 16 / static_cast<int>(sizeof(T));

// Whether 16-byte pieces may be used: `pointer` is aligned to 16 bytes, rows of `row_size` elements keep it
// so.
template <typename T>
GPU_HD bool IsVectorAligned(const T* pointer, int64_t row_size = kVectorSize<T>) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && row_size % kVectorSize<T> == 0;
}

namespace gpu_internal {

template <int kBytes>
using Piece = std::conditional_t<
    kBytes % 16 == 0, uint4,
    std::conditional_t<kBytes == 8, uint2,
                       std::conditional_t<kBytes == 4, unsigned int,
                                          std::conditional_t<kBytes == 2, unsigned short, unsigned char>>>>;

// The vector of pieces that `read(i)` gives.
template <typename T, int N, typename Read>
GPU_FN Vec<T, N> Assemble(Read read) {
  using P = Piece<static_cast<int>(sizeof(T)) * N>;
  Vec<T, N> vector;
  P* pieces = reinterpret_cast<P*>(vector.values);
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(vector) / sizeof(P)); ++i) pieces[i] = read(i);
  return vector;
}

}  // namespace gpu_internal

// Loads and stores of N elements at an address aligned like Vec<T, N>, in global or shared memory. The
// streaming ones are for global memory that no kernel will look at again soon: it is the first to leave the
// cache.
template <int N, typename T>
GPU_FN Vec<T, N> Load(const T* source) {
  const auto* pieces = reinterpret_cast<const gpu_internal::Piece<sizeof(T) * N>*>(source);
  return gpu_internal::Assemble<T, N>([=](int i) { return pieces[i]; });
}
template <int N, typename T>
GPU_FN Vec<T, N> LoadStreaming(const T* source) {
  const auto* pieces = reinterpret_cast<const gpu_internal::Piece<sizeof(T) * N>*>(source);
  return gpu_internal::Assemble<T, N>([=](int i) { return __ldcs(pieces + i); });
}
template <typename T, int N>
GPU_FN void Store(T* target, const Vec<T, N>& vector) {
  using P = gpu_internal::Piece<static_cast<int>(sizeof(T)) * N>;
  const P* pieces = reinterpret_cast<const P*>(vector.values);
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(vector) / sizeof(P)); ++i)
    reinterpret_cast<P*>(target)[i] = pieces[i];
}
template <typename T, int N>
GPU_FN void StoreStreaming(T* target, const Vec<T, N>& vector) {
  using P = gpu_internal::Piece<static_cast<int>(sizeof(T)) * N>;
  const P* pieces = reinterpret_cast<const P*>(vector.values);
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(vector) / sizeof(P)); ++i)
    __stcs(reinterpret_cast<P*>(target) + i, pieces[i]);
}

// Conversion of whole vectors.
template <typename T, int N>
GPU_FN Vec<float, N> ToFloat(const Vec<T, N>& vector) {
  Vec<float, N> result;
#pragma unroll
  for (int i = 0; i < N; ++i) result[i] = ToFloat(vector[i]);
  return result;
}
template <typename T, int N>
GPU_FN Vec<T, N> FromFloat(const Vec<float, N>& vector) {
  Vec<T, N> result;
  if constexpr (std::is_same_v<T, bf16> && N % 2 == 0) {
    uint32_t* pairs = reinterpret_cast<uint32_t*>(result.values);
#pragma unroll
    for (int i = 0; i < N / 2; ++i) pairs[i] = PackBf16(vector[2 * i], vector[2 * i + 1]);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) result[i] = FromFloat<T>(vector[i]);
  }
  return result;
}

// The sum, or maximum, over the block of each of the N values, in every thread the same bits whatever the
// order in which warps run. All threads of the block take part.
template <int N, typename T>
GPU_FN void BlockSum(T (&values)[N]) {
  SMEM(T, of_warps, [N][kMaxWarps]);
  const int num_warps = static_cast<int>(blockDim.x) / kWarpSize;
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = WarpSum(values[i]);
  __syncthreads();  // the readers of an earlier sum are done
  if (LaneId() == 0) {
#pragma unroll
    for (int i = 0; i < N; ++i) of_warps[i][WarpId()] = values[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = WarpSum(LaneId() < num_warps ? of_warps[i][LaneId()] : T(0));
}
template <typename T>
GPU_FN T BlockSum(T value) {
  T values[1] = {value};
  BlockSum(values);
  return values[0];
}
template <typename T>
GPU_FN T BlockMax(T value) {
  SMEM(T, of_warps, [kMaxWarps]);
  const int num_warps = static_cast<int>(blockDim.x) / kWarpSize;
  value = WarpMax(value);
  __syncthreads();  // the readers of an earlier maximum are done
  if (LaneId() == 0) of_warps[WarpId()] = value;
  __syncthreads();
  return WarpMax(of_warps[LaneId() < num_warps ? LaneId() : 0]);
}

// Philox4x32-10, word for word what Philox of runtime/random.h gives.
GPU_HD uint4 Philox(uint4 counter, uint2 key) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53u;
  constexpr uint64_t kMultiplier1 = 0xCD9E8D57u;
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = kMultiplier0 * counter.x;
    const uint64_t p1 = kMultiplier1 * counter.z;
    counter = uint4{static_cast<uint32_t>(p1 >> 32) ^ counter.y ^ key.x, static_cast<uint32_t>(p1),
                    static_cast<uint32_t>(p0 >> 32) ^ counter.w ^ key.y, static_cast<uint32_t>(p0)};
    key.x += 0x9E3779B9u;
    key.y += 0xBB67AE85u;
  }
  return counter;
}
// Four words for element (index, sub_index) of the stream with this key, as RandomStream::Words.
GPU_HD uint4 RandomWords(uint2 key, uint64_t index, uint64_t sub_index = 0) {
  return Philox(uint4{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                      static_cast<uint32_t>(sub_index), static_cast<uint32_t>(sub_index >> 32)},
                key);
}

// Streaming multiprocessors of the current device, for grids that fill it once.
inline int NumMultiprocessors() {
  int device = 0;
  int count = 1;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count;
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_GPU_H_
