// Which kernels serve a call of attention, and what all of its gradients begin with.
#include "runtime/cuda/attention.h"
#include "runtime/cuda/attention_operands.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"

namespace trireme {
namespace {

// Sixteen lanes a query of a head.
//   out, dout [T, H A]   lse [T, H]   statistics [H, PaddedTokens]
constexpr int kStatisticsLanes = 16;
constexpr int kStatisticsThreads = 256;
template <typename T, int kVector>
GPU_KERNEL(kStatisticsThreads)
AttentionStatisticsOf(AttentionHeads heads, const T* __restrict__ out, const T* __restrict__ dout,
                      const float* __restrict__ lse, AttentionStatistics* __restrict__ statistics) {
  const int64_t padded = PaddedTokens(heads.tokens);
  const int64_t index = GridThread() / kStatisticsLanes;
  const int lane = static_cast<int>(threadIdx.x) % kStatisticsLanes;
  const int64_t token = index / heads.query_heads;
  const int head = static_cast<int>(index % heads.query_heads);
  float delta = 0;
  if (token < heads.tokens) {
    const int64_t row = token * heads.out_columns() + heads.QueryColumn(head);
    for (int i = lane * kVector; i < heads.head_size; i += kStatisticsLanes * kVector) {
      const auto x = ToFloat(Load<kVector>(out + row + i));
      const auto y = ToFloat(Load<kVector>(dout + row + i));
#pragma unroll
      for (int j = 0; j < kVector; ++j) delta = fmaf(x[j], y[j], delta);
    }
  }
  delta = WarpSum<kStatisticsLanes>(delta);
  if (lane == 0 && token < padded) {
    const float wide_lse = token < heads.tokens ? lse[token * heads.query_heads + head] : 0.0f;
    statistics[head * padded + token] = {wide_lse * kLog2E, delta};
  }
}

template <typename T, int kVector>
void LaunchStatistics(const KernelArguments& a, const AttentionHeads& heads) {
  const int64_t lanes = PaddedTokens(heads.tokens) * heads.query_heads * kStatisticsLanes;
  GPU_LAUNCH((AttentionStatisticsOf<T, kVector>), GridOf(CeilDiv<int64_t>(lanes, kStatisticsThreads)),
             kStatisticsThreads, 0, a.stream, heads, a.inputs[2].as<T>(), a.inputs[0].as<T>(),
             a.inputs[3].as<float>(), static_cast<AttentionStatistics*>(a.workspace));
}

// `num_inputs`: without slopes.
AttentionFamily FamilyOf(const AttentionHeads& heads, absl::Span<const View> inputs, size_t num_inputs,
                         absl::Span<const View> outputs) {
  if (inputs.size() > num_inputs) return AttentionFamily::kGeneral;
  if (heads.head_size % kVectorSize<bf16> != 0 || heads.head_size > 128) return AttentionFamily::kGeneral;
  for (absl::Span<const View> views : {inputs, outputs}) {
    for (const View& v : views) {
      if (v.dtype == DType::kBF16 && !IsVectorAligned(v.as<bf16>())) return AttentionFamily::kGeneral;
    }
  }
  if (outputs[0].dtype != DType::kBF16) return AttentionFamily::kGeneral;
  int device = 0;
  int major = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  const bool hopper = major == 9 && (heads.head_size == 64 || heads.head_size == 128);
  return hopper ? AttentionFamily::kHopper : AttentionFamily::kTensorCores;
}

}  // namespace

AttentionFamily ForwardFamily(const KernelArguments& a) {
  return FamilyOf(AttentionHeads(a.op, a.inputs[0]), a.inputs, 2, a.outputs);
}

AttentionFamily GradientFamily(const KernelArguments& a) {
  return FamilyOf(AttentionHeads(a.op, a.inputs[1]), a.inputs, 5, a.outputs);
}

void AttentionBy(AttentionFamily family, const KernelArguments& a) {
  if (a.inputs[0].shape.rows() == 0) return;
  switch (family) {
    case AttentionFamily::kGeneral:
      return AttentionGeneral(a);
    case AttentionFamily::kTensorCores:
      return AttentionTensorCores(a);
    case AttentionFamily::kHopper:
      return AttentionHopper(a);
  }
}

void AttentionGradBy(AttentionFamily family, const KernelArguments& a) {
  const AttentionHeads heads(a.op, a.inputs[1]);
  if (heads.tokens == 0) return;
  if (family != AttentionFamily::kGeneral) {
    LaunchStatistics<bf16, kVectorSize<bf16>>(a, heads);
  } else {
    ForCudaFloat(a.outputs[0].dtype, [&](auto type) { LaunchStatistics<decltype(type), 1>(a, heads); });
  }
  switch (family) {
    case AttentionFamily::kGeneral:
      return AttentionGradGeneral(a);
    case AttentionFamily::kTensorCores:
      return AttentionGradTensorCores(a);
    case AttentionFamily::kHopper:
      return AttentionGradHopper(a);
  }
}

void AttentionCuda(const KernelArguments& a) {
  AttentionBy(ForwardFamily(a), a);
}

void AttentionGradCuda(const KernelArguments& a) {
  AttentionGradBy(GradientFamily(a), a);
}

void BlockAttentionGradCuda(const KernelArguments& a) {
  const AttentionHeads heads(a.op, a.inputs[1]);
  if (heads.tokens == 0) return;
  ForCudaFloat(a.inputs[1].dtype, [&](auto type) { LaunchStatistics<decltype(type), 1>(a, heads); });
  BlockAttentionGradGeneral(a);
}

int64_t AttentionCudaWorkspaceBytes(const Op&, absl::Span<const View>, absl::Span<const View>, int) {
  return 0;
}

int64_t AttentionGradCudaWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View>,
                                        int) {
  const AttentionHeads heads(op, inputs[1]);
  return heads.query_heads * PaddedTokens(heads.tokens) * static_cast<int64_t>(sizeof(AttentionStatistics));
}

}  // namespace trireme
