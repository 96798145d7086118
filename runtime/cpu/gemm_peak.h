#ifndef TRIREME_RUNTIME_CPU_GEMM_PEAK_H_
#define TRIREME_RUNTIME_CPU_GEMM_PEAK_H_

#include "runtime/dtype.h"

namespace trireme {

// The best that oneDNN's products of f32 or bf16 operands (into f32) reach on this machine right now, in
// GFLOP/s: the maximum over a few sizes from 512 to 1536, on random numbers, each warmed up. Takes a few
// tenths of a second where a core does 100 GFLOP/s, and at most about two on a slow one. What speeds are
// given as a share of.
double MeasureGemmPeak(DType dtype, int num_threads);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_GEMM_PEAK_H_
