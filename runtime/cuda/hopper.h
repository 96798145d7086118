// The asynchronous machinery of sm_90a, in the language of runtime/cuda/gpu.h: mbarriers, TMA copies of
// swizzled boxes, wgmma, named barriers, registers moved between warpgroups. For g++ <hopper_emulator.h>
// serves the same names.
//
// Everything that TMA and wgmma touch in shared memory is a tile of 64 bf16 columns: a row is 128 bytes,
// eight rows are 1024, tiles are 1024-byte aligned, and the 16-byte pieces of a row are permuted (128-byte
// swizzle): the byte at offset b of an aligned tile lies at Swizzle(b). Source: PTX ISA, "Asynchronous
// warpgroup level matrix instructions" and "Tensor swizzling modes"; field positions of the descriptor as in
// CUTLASS, cute/arch/mma_sm90_desc.hpp.
//
// TMA and wgmma are the "async proxy": they see what ordinary stores (and cp.async) wrote to shared memory
// only after the writers' FenceAsync() and a barrier behind it.
//
// In a build for an older architecture a kernel that gets here traps; launchers choose by the device's
// capability.
#ifndef TRIREME_RUNTIME_CUDA_HOPPER_H_
#define TRIREME_RUNTIME_CUDA_HOPPER_H_

#include <cstdint>

#include "runtime/cuda/gpu.h"

namespace trireme {

// Byte offset in a 1024-byte aligned tile -> where it lies. Its own inverse.
GPU_HD constexpr uint32_t Swizzle(uint32_t offset) {
  return offset ^ ((offset >> 7 & 7) << 4);
}

inline constexpr int kTileColumns = 64;  // bf16 of a row: 128 bytes
inline constexpr int kTileRowBytes = 128;
inline constexpr int kTileAlignment = 1024;

// What wgmma knows of a tile in shared memory. An operand whose rows run along k ("K-major": a [rows of
// A][k], or b [columns of B][k]) needs only its address; the next 16 of k start 32 bytes further, the 64
// after them in the next tile. One whose rows run across k ("MN-major": b [k][columns]) holds 64 rows or
// columns a tile; the next 64 lie leading_bytes further; the next 16 of k start 2048 bytes further.
GPU_HD constexpr uint64_t WgmmaDescriptor(SharedAddress tile, uint32_t leading_bytes = 16) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kEightRows = uint64_t{1024 >> 4} << 32;
  return kSwizzle128 | kEightRows | uint64_t{(leading_bytes >> 4) & 0x3fff} << 16 | ((tile >> 4) & 0x3fff);
}

// How an operand lies in shared memory.
enum class Major { kK, kMN };

}  // namespace trireme

#ifdef __CUDACC__

#include <cuda.h>

namespace trireme {

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TRIREME_HOPPER_ASM(...) asm volatile(__VA_ARGS__)
#else
#define TRIREME_HOPPER_ASM(...) __trap()
#endif

// A barrier in shared memory that counts arrivals and bytes. Its phase completes when all expected arrivals
// came and all announced bytes landed; the next begins at once. One thread initialises, then
// MbarrierFenceInit, then
// __syncthreads.
struct alignas(8) Mbarrier {
  uint64_t state;
};

GPU_FN void MbarrierInit(Mbarrier* barrier, int arrivals) {
  TRIREME_HOPPER_ASM("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddressOf(barrier)), "r"(arrivals)
                     : "memory");
}
GPU_FN void MbarrierFenceInit() {
  TRIREME_HOPPER_ASM("fence.mbarrier_init.release.cluster;" ::: "memory");
}
GPU_FN void MbarrierArrive(Mbarrier* barrier) {
  TRIREME_HOPPER_ASM("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddressOf(barrier)) : "memory");
}
// Arrives, and announces bytes that copies will bring in this phase.
GPU_FN void MbarrierArriveExpect(Mbarrier* barrier, int bytes) {
  TRIREME_HOPPER_ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddressOf(barrier)),
                     "r"(bytes)
                     : "memory");
}
// Returns when the phase of this parity has completed: of a fresh barrier, parity 1 has, parity 0 is the
// first to do.
GPU_FN void MbarrierWait(Mbarrier* barrier, int parity) {
  TRIREME_HOPPER_ASM(
      "{\n"
      ".reg .pred done;\n"
      "WAIT:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra DONE;\n"
      "bra WAIT;\n"
      "DONE:\n"
      "}\n" ::"r"(SharedAddressOf(barrier)),
      "r"(parity)
      : "memory");
}

// Makes this thread's stores to shared memory visible to TMA and wgmma behind the next barrier.
GPU_FN void FenceAsync() {
  TRIREME_HOPPER_ASM("fence.proxy.async.shared::cta;" ::: "memory");
}

// A matrix in global memory as TMA sees it, cut into boxes of box_rows x 64 columns. Passed to kernels as
// `GPU_GRID_CONSTANT const TensorMap map`.
using TensorMap = CUtensorMap;

// `data` [rows, columns] with `row_stride` elements from row to row: both are multiples of 16 bytes. What of
// a box lies outside reads as zero and is not written.
inline TensorMap MakeTensorMap(const bf16* data, int64_t rows, int64_t columns, int64_t row_stride,
                               int box_rows) {
  CHECK(reinterpret_cast<uintptr_t>(data) % 16 == 0 && row_stride % kVectorSize<bf16> == 0);
  CHECK(rows > 0 && columns > 0 && box_rows > 0 && box_rows <= 256);
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  CHECK_EQ(
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found),
      cudaSuccess);
  CHECK_EQ(found, cudaDriverEntryPointSuccess);
  TensorMap map;
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t stride_bytes[1] = {static_cast<cuuint64_t>(row_stride) * sizeof(bf16)};
  const cuuint32_t box[2] = {kTileColumns, static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t element_strides[2] = {1, 1};
  const CUresult encoded = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<bf16*>(data), sizes, stride_bytes, box,
      element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  CHECK_EQ(encoded, CUDA_SUCCESS);
  return map;
}

// One thread starts the copy of the box at (row, column) into a tile; `barrier` is told its bytes when it has
// landed (box_rows * 128, zeros included).
GPU_FN void TmaLoad(void* tile, const TensorMap& map, int row, int column, Mbarrier* barrier) {
  TRIREME_HOPPER_ASM(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], "
      "[%4];" ::"r"(SharedAddressOf(tile)),
      "l"(&map), "r"(column), "r"(row), "r"(SharedAddressOf(barrier))
      : "memory");
}
// One thread starts the copy of a tile to the box at (row, column). TmaStoreCommit closes a group of copies;
// TmaStoreWait<N> returns when all of this thread's groups but the N youngest have read their tiles.
GPU_FN void TmaStore(const TensorMap& map, int row, int column, const void* tile) {
  TRIREME_HOPPER_ASM(
      "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(&map), "r"(column),
      "r"(row), "r"(SharedAddressOf(tile))
      : "memory");
}
GPU_FN void TmaStoreCommit() {
  TRIREME_HOPPER_ASM("cp.async.bulk.commit_group;" ::: "memory");
}
template <int kPending>
GPU_FN void TmaStoreWait() {
  TRIREME_HOPPER_ASM("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}
GPU_FN void PrefetchTensorMap(const TensorMap& map) {
  TRIREME_HOPPER_ASM("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// Barriers 1 to 15 among `threads` (whole warps) of the block; those that only arrive do not wait.
GPU_FN void NamedBarrierSync(int barrier, int threads) {
  TRIREME_HOPPER_ASM("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
GPU_FN void NamedBarrierArrive(int barrier, int threads) {
  TRIREME_HOPPER_ASM("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// All warps of a warpgroup: each of its threads has kCount registers from here on (a multiple of 8, 24 to
// 240).
template <int kCount>
GPU_FN void TakeRegisters() {
  TRIREME_HOPPER_ASM("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
GPU_FN void GiveRegisters() {
  TRIREME_HOPPER_ASM("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}

// Before the first Wgmma, and again whenever registers that one uses were touched; WgmmaCommit closes a group
// of them; WgmmaWait<N> returns when all groups but the N youngest are done.
GPU_FN void WgmmaFence() {
  TRIREME_HOPPER_ASM("wgmma.fence.sync.aligned;" ::: "memory");
}
GPU_FN void WgmmaCommit() {
  TRIREME_HOPPER_ASM("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
GPU_FN void WgmmaWait() {
  TRIREME_HOPPER_ASM("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Keeps the compiler from moving uses of these registers across it: behind a WgmmaWait, before a WgmmaFence.
template <int kSize>
GPU_FN void WgmmaHold(float (&registers)[kSize]) {
#pragma unroll
  for (int i = 0; i < kSize; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}

// wgmma of width n: the sums are its first n / 2 operands, those from p0 on its others.
#define TRIREME_REGISTERS_32                                               \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define TRIREME_REGISTERS_64                                                         \
  TRIREME_REGISTERS_32                                                               \
  ", "                                                                               \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define TRIREME_REGISTERS_128                                                                    \
  TRIREME_REGISTERS_64                                                                           \
  ", "                                                                                           \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define TRIREME_SUMS_8(i)                                                                     \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define TRIREME_SUMS_32(i) \
  TRIREME_SUMS_8(i), TRIREME_SUMS_8(i + 8), TRIREME_SUMS_8(i + 16), TRIREME_SUMS_8(i + 24)
#define TRIREME_SUMS_64(i) TRIREME_SUMS_32(i), TRIREME_SUMS_32(i + 32)
#define TRIREME_SUMS_128(i) TRIREME_SUMS_64(i), TRIREME_SUMS_64(i + 64)
#define TRIREME_WGMMA(n, size, p0, p1, p2, p3, p4)                                                         \
  TRIREME_HOPPER_ASM("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p2                                              \
                     ", 0;\n"                                                                              \
                     "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" TRIREME_REGISTERS_##size \
                     "}, %" #p0 ", %" #p1 ", p, 1, 1, %" #p3 ", %" #p4 ";\n}\n"                            \
                     : TRIREME_SUMS_##size(0)                                                              \
                     : "l"(a), "l"(b), "r"(accumulate ? 1 : 0), "n"(kA == Major::kMN),                     \
                       "n"(kB == Major::kMN))
#define TRIREME_WGMMA_REGISTERS(n, size, p0, p1, p2, p3, p4, p5, p6)                                       \
  TRIREME_HOPPER_ASM("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p5                                              \
                     ", 0;\n"                                                                              \
                     "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" TRIREME_REGISTERS_##size \
                     "}, {%" #p0 ", %" #p1 ", %" #p2 ", %" #p3 "}, %" #p4 ", p, 1, 1, %" #p6 ";\n}\n"      \
                     : TRIREME_SUMS_##size(0)                                                              \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate ? 1 : 0),        \
                       "n"(kB == Major::kMN))

// Starts d [64, 2 * kSize] = (accumulate ? d : 0) + a [64, 16] * b [16, 2 * kSize], bf16 products summed in
// float, by the four warps of a warpgroup. d of a thread: d[4 * j + 2 * h + c] is row 16 * (warp % 4) + lane
// / 4 + 8 * h, column 8 * j + 2 * (lane % 4) + c. a from registers: the fragment of MmaBf16 for the warp's 16
// rows.
template <Major kA = Major::kK, Major kB = Major::kK, int kSize>
GPU_FN void Wgmma(float (&d)[kSize], uint64_t a, uint64_t b, bool accumulate) {
  static_assert(kSize == 32 || kSize == 64 || kSize == 128);
  if constexpr (kSize == 32) TRIREME_WGMMA(64, 32, 32, 33, 34, 35, 36);
  if constexpr (kSize == 64) TRIREME_WGMMA(128, 64, 64, 65, 66, 67, 68);
  if constexpr (kSize == 128) TRIREME_WGMMA(256, 128, 128, 129, 130, 131, 132);
}
template <Major kB = Major::kK, int kSize>
GPU_FN void WgmmaFromRegisters(float (&d)[kSize], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  static_assert(kSize == 32 || kSize == 64 || kSize == 128);
  if constexpr (kSize == 32) TRIREME_WGMMA_REGISTERS(64, 32, 32, 33, 34, 35, 36, 37, 38);
  if constexpr (kSize == 64) TRIREME_WGMMA_REGISTERS(128, 64, 64, 65, 66, 67, 68, 69, 70);
  if constexpr (kSize == 128) TRIREME_WGMMA_REGISTERS(256, 128, 128, 129, 130, 131, 132, 133, 134);
}

}  // namespace trireme

#else

#include <hopper_emulator.h>

#endif

#endif  // TRIREME_RUNTIME_CUDA_HOPPER_H_
