// The instruction set that the fast kernels use on this machine, chosen at run time.
#ifndef TRIREME_RUNTIME_CPU_SIMD_H_
#define TRIREME_RUNTIME_CPU_SIMD_H_

namespace trireme {

// "AVX-512", "AVX2", "NEON", or Highway's name of the baseline.
const char* SimdName();

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_SIMD_H_
