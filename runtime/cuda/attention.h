// Attention and its gradient on CUDA (ops/attention.h defines both), for f32 and bf16.
//
// Flash attention: tiles of scores live in registers and shared memory only. Two families of kernels:
//   tensor cores  attention_forward.cu, attention_backward.cu: bf16, head sizes that are multiples of 8 up
//                 to 128 (64, 96 and 128 without padding), 16-byte aligned operands
//   general       attention_general.cu: everything else, with the CUDA cores
// A query tile visits exactly the key tiles that one of its queries sees, and the other way round. All sums
// are in a fixed order: results depend on the operands and the shape only.
// Sources: arXiv:2205.14135, arXiv:2307.08691.
#ifndef TRIREME_RUNTIME_CUDA_ATTENTION_H_
#define TRIREME_RUNTIME_CUDA_ATTENTION_H_

#include "runtime/cuda/launchers.h"
#include "runtime/kernel.h"

namespace trireme {

// launchers.h has AttentionCuda, which needs no workspace, and AttentionGradCuda, whose workspace holds
// AttentionStatistics of every query head and token. They choose between the families.

// The general kernels. The gradient expects the statistics in the workspace.
void AttentionGeneral(const KernelArguments& a);
void AttentionGradGeneral(const KernelArguments& a);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_ATTENTION_H_
