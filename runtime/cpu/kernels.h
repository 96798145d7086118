// The CPU backend's kernels: the plain ones that define each op, and the fast ones.
#ifndef TRIREME_RUNTIME_CPU_KERNELS_H_
#define TRIREME_RUNTIME_CPU_KERNELS_H_

#include "runtime/kernel.h"

namespace trireme {

// Plain loops for f32, bf16 and f64: the definition that everything else is tested against, and the only path
// for f64.
const KernelEntry& PlainKernel(OpKind kind);

// The kernel that training runs: oneDNN products and SIMD loops for f32 and bf16, the plain path for f64.
const KernelEntry& FastKernel(OpKind kind);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_KERNELS_H_
