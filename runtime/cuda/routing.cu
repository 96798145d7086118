// The router of ops/routing.h: choices, their weights, and what imbalance costs. Floors, T tokens, E experts,
// k choices, logits of s bytes: Router s T E + 8 T k bytes, its gradient s T E + 12 T k; CountChoices 4 T k;
// RouterLoss s T E, its gradient 2 s T E. A router is narrow: what these cost is their launches. DropOverflow
// reads the choices once an expert: 4 E T k bytes, from the cache.
#include <glog/logging.h>

#include "runtime/cuda/check.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/token_order.h"

namespace trireme {
namespace {

constexpr int kThreads = 128;
constexpr int kTokens = kThreads / kWarpSize;  // of a block: a warp each

GPU_FN int64_t TokenOfWarp() {
  return static_cast<int64_t>(blockIdx.x) * kTokens + WarpId();
}

// A logit and its expert as one number, less than 2^64 - 1: the larger logit has the larger number, and among
// equal ones the lower expert. A NaN is larger than all, so that it is chosen and reaches the weights.
GPU_FN uint64_t RankOf(float logit, int expert) {
  const uint32_t bits = __float_as_uint(logit + 0.0f);  // -0 becomes 0
  uint32_t ascending = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  if (logit != logit) ascending = 0xffffffffu;
  return static_cast<uint64_t>(ascending) << 32 | (0xfffffffeu - static_cast<uint32_t>(expert));
}
GPU_FN int ExpertOf(uint64_t rank) {
  return static_cast<int>(0xfffffffeu - static_cast<uint32_t>(rank));
}

template <typename T>
GPU_KERNEL(kThreads)
RouterKernel(int64_t num_tokens, int num_experts, int k, const T* logits, float* weights, int32_t* experts) {
  const int64_t t = TokenOfWarp();
  if (t >= num_tokens) return;
  const T* row = logits + t * num_experts;
  uint64_t chosen = ~uint64_t{0};
  float largest = 0, sum = 0;
  for (int j = 0; j < k; ++j) {
    uint64_t best = 0;  // of those behind the choice before; every rank is larger than 0
    for (int e = LaneId(); e < num_experts; e += kWarpSize) {
      const uint64_t rank = RankOf(ToFloat(row[e]), e);
      if (rank < chosen && rank > best) best = rank;
    }
    chosen = WarpMax(best);
    const int expert = ExpertOf(chosen);
    const float logit = ToFloat(row[expert]);
    if (j == 0) largest = logit;
    const float share = expf(logit - largest);
    sum += share;
    if (LaneId() == j % kWarpSize) {
      experts[t * k + j] = expert;
      weights[t * k + j] = share;
    }
  }
  for (int j = LaneId(); j < k; j += kWarpSize) weights[t * k + j] /= sum;
}

template <typename T>
GPU_KERNEL(kThreads)
RouterGradKernel(int64_t num_tokens, int num_experts, int k, const float* dweights, const float* weights,
                 const int32_t* experts, T* dlogits) {
  const int64_t t = TokenOfWarp();
  if (t >= num_tokens) return;
  float mean = 0;
  for (int j = LaneId(); j < k; j += kWarpSize) mean += dweights[t * k + j] * weights[t * k + j];
  mean = WarpSum(mean);
  T* row = dlogits + t * num_experts;
  for (int e = LaneId(); e < num_experts; e += kWarpSize) row[e] = FromFloat<T>(0);
  __syncwarp();
  for (int j = LaneId(); j < k; j += kWarpSize) {
    const int64_t choice = t * k + j;
    row[experts[choice]] = FromFloat<T>(weights[choice] * (dweights[choice] - mean));
  }
}

// The sequences of a rank's rows: cp's ranks have other rows each, and tp's do where tp shards them.
struct SequenceOfRow {
  SequenceOfRow(const KernelArguments& a, int64_t rows, int64_t sequences) {
    const int64_t shards = a.op.attributes.Int("tp_shards"), cp = a.mesh[Axis::kCp];
    order = {rows * shards * cp, cp, a.op.attributes.Int("balanced") != 0};
    tokens_per_sequence = order.tokens / sequences;
    rank = a.coordinate[Axis::kCp];
    first_row = shards > 1 ? a.coordinate[Axis::kTp] * rows : 0;
  }
  GPU_FN int64_t operator()(int64_t row) const {
    return order.StreamIndex(rank, first_row + row) / tokens_per_sequence;
  }

  TokenOrder order;
  int64_t tokens_per_sequence;
  int64_t rank;
  int64_t first_row;
};

// Sums of integers: any order gives the same.
GPU_KERNEL(kThreads)
CountChoicesKernel(SequenceOfRow sequence_of, int64_t choices, int k, int num_experts, const int32_t* experts,
                   int32_t* counts) {
  const int64_t c = GridThread();
  if (c < choices) atomicAdd(&counts[sequence_of(c / k) * num_experts + experts[c]], 1);
}

struct LossFactors {
  float balance;  // times the number of experts
  float z;
  float sequence_length;
};

template <bool kGradient, typename T>
GPU_KERNEL(kThreads)
RouterLossKernel(SequenceOfRow sequence_of, LossFactors factors, int64_t num_tokens, int num_experts,
                 const T* logits, const int32_t* counts, float* loss, T* dlogits) {
  const int64_t t = TokenOfWarp();
  if (t >= num_tokens) return;
  const T* row = logits + t * num_experts;
  const int32_t* of_sequence = counts + sequence_of(t) * num_experts;
  float largest = kNegativeInfinity;
  for (int e = LaneId(); e < num_experts; e += kWarpSize) largest = Max(largest, ToFloat(row[e]));
  largest = WarpMax(largest);
  float sum = 0, chosen = 0;  // a NaN, whether it is the largest or not, reaches both
  for (int e = LaneId(); e < num_experts; e += kWarpSize) {
    const float share = expf(ToFloat(row[e]) - largest);
    sum += share;
    chosen += share * static_cast<float>(of_sequence[e]);
  }
  sum = WarpSum(sum);
  const float expected = WarpSum(chosen) / sum / factors.sequence_length;
  const float normaliser = largest + logf(sum);
  if (LaneId() == 0) loss[t] = factors.balance * expected + factors.z * normaliser * normaliser;
  if constexpr (kGradient) {
    for (int e = LaneId(); e < num_experts; e += kWarpSize) {
      const float p = expf(ToFloat(row[e]) - largest) / sum;
      const float excess = static_cast<float>(of_sequence[e]) / factors.sequence_length - expected;
      dlogits[t * num_experts + e] =
          FromFloat<T>(p * (factors.balance * excess + 2.0f * factors.z * normaliser));
    }
  }
}

template <bool kGradient>
void LaunchRouterLoss(const KernelArguments& a) {
  const int64_t num_tokens = a.inputs[0].shape[0];
  const auto num_experts = static_cast<int>(a.inputs[0].shape[1]);
  const LossFactors factors = {static_cast<float>(a.op.attributes.Float("balance") * num_experts),
                               static_cast<float>(a.op.attributes.Float("z")),
                               static_cast<float>(a.op.attributes.Int("sequence_length"))};
  const SequenceOfRow sequence_of(a, num_tokens, a.inputs[1].shape[0]);
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    GPU_LAUNCH((RouterLossKernel<kGradient, T>), GridOf(CeilDiv<int64_t>(num_tokens, kTokens)), kThreads, 0,
               a.stream, sequence_of, factors, num_tokens, num_experts, a.inputs[0].as<const T>(),
               a.inputs[1].as<const int32_t>(), WideOf(a.outputs[0]),
               kGradient ? a.outputs[1].as<T>() : nullptr);
  });
}

// Whose choices a rank of cp keeps, and where in the choices of all ranks they lie.
struct Overflow {
  TokenOrder order;
  int64_t sequences;
  int64_t capacity;
  int64_t first_choice;  // of this rank's
  int64_t num_choices;
};

// A warp an expert of a sequence goes through the sequence, and writes the choices of its expert.
GPU_KERNEL(kThreads)
DropOverflowKernel(Overflow overflow, int num_experts, int k, const int32_t* experts, int32_t* kept) {
  const int64_t warp = TokenOfWarp();
  if (warp >= overflow.sequences * num_experts) return;
  const int64_t sequence = warp / num_experts;
  const auto expert = static_cast<int32_t>(warp - sequence * num_experts);
  const int64_t length = overflow.order.tokens / overflow.sequences;
  int64_t taken = 0;
  for (int64_t first = 0; first < length * k; first += kWarpSize) {
    const int64_t choice = first + LaneId();
    const int64_t token = choice / k;
    const int64_t at =
        overflow.order.GatheredIndex(sequence * length + Min(token, length - 1)) * k + choice - token * k;
    const bool chosen = choice < length * k && experts[at] == expert;
    const unsigned lanes = Ballot(chosen);
    const int64_t place = taken + __popc(lanes & ((1u << LaneId()) - 1));
    const int64_t here = at - overflow.first_choice;
    if (chosen && here >= 0 && here < overflow.num_choices)
      kept[here] = place < overflow.capacity ? expert : -1;
    taken += __popc(lanes);
  }
}

GPU_KERNEL(kWarpSize)
CountDroppedKernel(int64_t choices, const int32_t* end_of_rows, int64_t* dropped) {
  if (threadIdx.x == 0) *dropped += choices - *end_of_rows;
}

// Of each rank, offsets of the rows that it sent: their sum over ranks is where an expert's rows begin.
GPU_KERNEL(kThreads)
ReceivedOffsetsKernel(int64_t ranks, int64_t num_offsets, const int32_t* received, int32_t* offsets) {
  const int64_t e = GridThread();
  if (e >= num_offsets) return;
  int32_t rows = 0;
  for (int64_t r = 0; r < ranks; ++r) rows += received[r * num_offsets + e] - received[r * num_offsets];
  offsets[e] = rows;
}

}  // namespace

void RouterCuda(const KernelArguments& a) {
  const int64_t num_tokens = a.inputs[0].shape[0];
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    GPU_LAUNCH(RouterKernel<T>, GridOf(CeilDiv<int64_t>(num_tokens, kTokens)), kThreads, 0, a.stream,
               num_tokens, static_cast<int>(a.inputs[0].shape[1]), static_cast<int>(a.outputs[0].shape[1]),
               a.inputs[0].as<const T>(), WideOf(a.outputs[0]), a.outputs[1].as<int32_t>());
  });
}

void RouterGradCuda(const KernelArguments& a) {
  const int64_t num_tokens = a.inputs[0].shape[0];
  ForCudaFloat(a.outputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    GPU_LAUNCH(RouterGradKernel<T>, GridOf(CeilDiv<int64_t>(num_tokens, kTokens)), kThreads, 0, a.stream,
               num_tokens, static_cast<int>(a.outputs[0].shape[1]), static_cast<int>(a.inputs[0].shape[1]),
               WideOf(a.inputs[0]), WideOf(a.inputs[1]), a.inputs[2].as<const int32_t>(),
               a.outputs[0].as<T>());
  });
}

void CountChoicesCuda(const KernelArguments& a) {
  const int64_t rows = a.inputs[0].shape[0], choices = a.inputs[0].shape.num_elements();
  const View& counts = a.outputs[0];
  GPU_CHECK(cudaMemsetAsync(counts.data, 0, counts.shape.num_elements() * sizeof(int32_t),
                            static_cast<cudaStream_t>(a.stream)));
  const SequenceOfRow sequence_of(a, rows, counts.shape[0]);
  GPU_LAUNCH(CountChoicesKernel, GridOf(CeilDiv<int64_t>(choices, kThreads)), kThreads, 0, a.stream,
             sequence_of, choices, static_cast<int>(a.inputs[0].shape[1]), static_cast<int>(counts.shape[1]),
             a.inputs[0].as<const int32_t>(), counts.as<int32_t>());
}

void RouterLossCuda(const KernelArguments& a) {
  LaunchRouterLoss<false>(a);
}

void RouterLossGradCuda(const KernelArguments& a) {
  LaunchRouterLoss<true>(a);
}

void DropOverflowCuda(const KernelArguments& a) {
  const Attributes& attributes = a.op.attributes;
  const int64_t tokens = a.inputs[0].shape[0], num_choices = a.outputs[0].shape.num_elements();
  const auto num_experts = static_cast<int>(attributes.Int("num_experts"));
  const Overflow overflow = {{tokens, a.mesh[Axis::kCp], attributes.Int("balanced") != 0},
                             attributes.Int("sequences"),
                             attributes.Int("capacity"),
                             a.coordinate[Axis::kCp] * num_choices,
                             num_choices};
  GPU_LAUNCH(DropOverflowKernel, GridOf(CeilDiv<int64_t>(overflow.sequences * num_experts, kTokens)),
             kThreads, 0, a.stream, overflow, num_experts, static_cast<int>(a.inputs[0].shape[1]),
             a.inputs[0].as<const int32_t>(), a.outputs[0].as<int32_t>());
}

void CountDroppedCuda(const KernelArguments& a) {
  const int64_t num_experts = a.inputs[0].shape[0] - 1;
  GPU_LAUNCH(CountDroppedKernel, 1, kWarpSize, 0, a.stream, a.op.attributes.Int("choices"),
             a.inputs[0].as<const int32_t>() + num_experts, a.outputs[0].as<int64_t>());
}

void ReceivedOffsetsCuda(const KernelArguments& a) {
  const int64_t ranks = a.inputs[0].shape[0], num_offsets = a.inputs[0].shape[1];
  GPU_LAUNCH(ReceivedOffsetsKernel, GridOf(CeilDiv<int64_t>(num_offsets, kThreads)), kThreads, 0, a.stream,
             ranks, num_offsets, a.inputs[0].as<const int32_t>(), a.outputs[0].as<int32_t>());
}

}  // namespace trireme
