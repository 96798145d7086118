// Which instruction sets the fast kernels are compiled for: AVX-512, AVX2, NEON and the platform's baseline.
// Each further one would cost compile time and gain nothing here. To be included before anything of Highway.
#ifndef TRIREME_RUNTIME_CPU_SIMD_TARGETS_H_
#define TRIREME_RUNTIME_CPU_SIMD_TARGETS_H_

#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)

#endif  // TRIREME_RUNTIME_CPU_SIMD_TARGETS_H_
