// Attention and its gradient on CUDA (ops/attention.h defines both), for f32 and bf16.
//
// Flash attention: tiles of scores live in registers and shared memory only. Three families of kernels:
//   general       attention_general.cu: any head size, f32 and bf16, by the CUDA cores
//   tensor cores  attention_forward.cu, attention_backward.cu: bf16, head sizes that are multiples of 8 up
//                 to 128 (64, 96 and 128 without padding), 16-byte aligned operands
//   Hopper        attention_forward_sm90.cu, attention_backward_sm90.cu: of these the heads of 64 and 128, on
//                 sm_90a
// The blocks of a ring (ops/ring_attention.h), and slopes (ops/attention.h), are served by the general family
// alone: the kernels for tensor cores have no registers left for places and slopes.
// A query tile visits exactly the key tiles that one of its queries sees, and the other way round. All sums
// are in a fixed order: results depend on the operands and the shape only.
// Sources: arXiv:2205.14135, arXiv:2307.08691.
#ifndef TRIREME_RUNTIME_CUDA_ATTENTION_H_
#define TRIREME_RUNTIME_CUDA_ATTENTION_H_

#include "runtime/cuda/launchers.h"
#include "runtime/kernel.h"

namespace trireme {

// launchers.h has AttentionCuda, which needs no workspace, and AttentionGradCuda, whose workspace holds
// AttentionStatistics of every query head and token. They choose the best family for the operands and the
// device:
enum class AttentionFamily { kGeneral, kTensorCores, kHopper };
AttentionFamily ForwardFamily(const KernelArguments& a);
AttentionFamily GradientFamily(const KernelArguments& a);

// By a family that serves these operands.
void AttentionBy(AttentionFamily family, const KernelArguments& a);
void AttentionGradBy(AttentionFamily family, const KernelArguments& a);

// What the files contribute. The gradients expect the statistics in the workspace.
void AttentionGeneral(const KernelArguments& a);
void AttentionTensorCores(const KernelArguments& a);
void AttentionHopper(const KernelArguments& a);
void AttentionGradGeneral(const KernelArguments& a);
void AttentionGradTensorCores(const KernelArguments& a);
void AttentionGradHopper(const KernelArguments& a);
void BlockAttentionGradGeneral(const KernelArguments& a);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_ATTENTION_H_
