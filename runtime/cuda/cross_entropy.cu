// Softmax statistics, loss and gradient of cross-entropy, for T rows of the V columns of the vocabulary that
// this rank holds. logits, dlogits [T, V] of s bytes; statistics of R ranks [R T, 3] f32 (maximum, sum of
// exp(logit - maximum), target's logit); loss [T] or [T, 2] f32. Floors: statistics s T V bytes, gradient 2 s
// T V. A block takes a row.
#include <glog/logging.h>

#include <algorithm>

#include "runtime/cuda/fixed_order_sum.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/parts.h"
#include "runtime/ops/cross_entropy.h"

namespace trireme {
namespace {

constexpr int kThreads = 512;
constexpr int kVectors = 4;  // that a thread loads before it uses them
constexpr int kLossThreads = 128;

// This rank's columns [first, first + count) of the vocabulary, of its `cols` columns of storage.
struct LocalVocabulary {
  LocalVocabulary(const KernelArguments& a, int64_t storage_cols)
      : first(a.coordinate[Axis::kTp] * storage_cols),
        count(std::clamp<int64_t>(a.op.attributes.Int("vocabulary") - first, 0, storage_cols)),
        cols(storage_cols) {}
  // The local column of a target, or -1.
  GPU_FN int64_t Find(int64_t target) const {
    return target >= first && target < first + count ? target - first : -1;
  }
  int64_t first;
  int64_t count;
  int64_t cols;
};

// Elements that are not there, and rows of nothing but -inf, must not make a NaN of -inf - -inf.
GPU_FN float Shift(float maximum) {
  return maximum == kNegativeInfinity ? 0.0f : maximum;
}

// A thread forms the maximum and the sum of what it has seen so far, scaling the sum down when the maximum
// rises. A NaN never is a maximum, but it stays in the sum.
template <bool kAligned, typename T>
GPU_KERNEL(kThreads)
SoftmaxStatisticsKernel(LocalVocabulary local, const T* logits, const int32_t* targets, float* statistics) {
  constexpr int N = kVectorSize<T>;
  constexpr int64_t kStride = kThreads * N;
  const int64_t row = blockIdx.x;
  const T* row_logits = logits + row * local.cols;
  float maximum = kNegativeInfinity;
  float sum = 0;
  for (int64_t first = threadIdx.x * N; first < local.count; first += kVectors * kStride) {
    Vec<T, N> loaded[kVectors];
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int64_t column = first + v * kStride;
      loaded[v] = LoadPart<kAligned, N>(row_logits + column, local.cols - column);
    }
    Vec<float, N> values[kVectors];
    float higher = maximum;
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const bool exists = first + v * kStride + i < local.count;
        values[v][i] = exists ? ToFloat(loaded[v][i]) : kNegativeInfinity;
        higher = fmaxf(higher, values[v][i]);
      }
    }
    const float shift = Shift(higher);
    sum *= FastExp(maximum - shift);
    maximum = higher;
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
#pragma unroll
      for (int i = 0; i < N; ++i) sum += FastExp(values[v][i] - shift);
    }
  }
  const float row_maximum = BlockMax(maximum);
  const float row_sum = BlockSum(sum * FastExp(maximum - Shift(row_maximum)));
  if (threadIdx.x == 0) {
    const int64_t target = local.Find(targets[row]);
    statistics[3 * row] = row_maximum;
    statistics[3 * row + 1] = row_sum;
    statistics[3 * row + 2] = target < 0 ? 0.0f : ToFloat(row_logits[target]);
  }
}

// A row's softmax over the whole vocabulary.
struct RowSoftmax {
  GPU_FN double LogSumExp() const { return maximum + log(static_cast<double>(sum)); }
  float maximum = kNegativeInfinity;
  float sum = 0;
  float target_logit = 0;
};

// Row `row` of `rows`, merged in the order of the ranks.
GPU_FN RowSoftmax MergeRanks(const float* statistics, int64_t ranks, int64_t rows, int64_t row) {
  RowSoftmax merged;
  for (int64_t r = 0; r < ranks; ++r) {
    merged.maximum = fmaxf(merged.maximum, statistics[3 * (r * rows + row)]);
  }
  for (int64_t r = 0; r < ranks; ++r) {
    const float* own = statistics + 3 * (r * rows + row);
    merged.sum += own[1] * expf(own[0] - merged.maximum);
    merged.target_logit += own[2];
  }
  return merged;
}

// The losses' rows: of one term, or of all with a coefficient for the second.
struct LossTerms {
  LossTerms(const KernelArguments& a, const View& loss)
      : z_loss(ZLossOf(a.op, loss.shape)), terms(loss.shape.num_dims() == 1 ? 1 : kNumLossTerms) {}
  GPU_FN void Put(float* loss, int64_t row, const RowSoftmax& softmax, int32_t target) const {
    const double log_sum = softmax.LogSumExp();
    loss[row * terms] = target < 0 ? 0.0f : static_cast<float>(log_sum - softmax.target_logit);
    if (terms > 1) {
      loss[row * terms + kZLossTerm] = target < 0 ? 0.0f : static_cast<float>(z_loss * log_sum * log_sum);
    }
  }
  // The gradient of both losses is softmax times this, less one at the target.
  GPU_FN double GradientFactor(const RowSoftmax& softmax) const {
    return terms > 1 ? 1.0 + 2.0 * z_loss * softmax.LogSumExp() : 1.0;
  }
  double z_loss;
  int terms;
};

GPU_KERNEL(kLossThreads)
CrossEntropyLossKernel(LossTerms terms, int64_t ranks, int64_t rows, const float* statistics,
                       const int32_t* targets, float* loss) {
  const int64_t row = GridThread();
  if (row >= rows) return;
  terms.Put(loss, row, MergeRanks(statistics, ranks, rows, row), targets[row]);
}

// dlogits may be logits: a thread reads and writes the same columns. At the target, where a probability of
// nearly one leaves few digits of a float, the gradient is formed in double.
template <bool kAligned, typename T>
GPU_KERNEL(kThreads)
CrossEntropyGradKernel(LocalVocabulary local, LossTerms terms, int64_t ranks, int64_t rows, const T* logits,
                       const float* statistics, const int32_t* targets, T* dlogits, float* loss) {
  constexpr int N = kVectorSize<T>;
  constexpr int64_t kStride = kThreads * N;
  const int64_t row = blockIdx.x;
  const int32_t target = targets[row];
  const RowSoftmax merged = MergeRanks(statistics, ranks, rows, row);
  if (threadIdx.x == 0) terms.Put(loss, row, merged, target);
  const int64_t count = target < 0 ? 0 : local.count;
  const int64_t target_column = local.Find(target);
  const bool has_target = target_column >= 0 && target_column / N % kThreads == threadIdx.x;
  const int64_t target_at = row * local.cols + target_column;
  const float target_logit = has_target ? ToFloat(logits[target_at]) : 0.0f;
  const auto scale = static_cast<float>(terms.GradientFactor(merged) / merged.sum);
  for (int64_t first = threadIdx.x * N; first < local.cols; first += kVectors * kStride) {
    Vec<T, N> vectors[kVectors];
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int64_t column = first + v * kStride;
      vectors[v] = LoadPart<kAligned, N>(logits + row * local.cols + column, local.cols - column);
    }
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int64_t column = first + v * kStride;
      Vec<float, N> gradient;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float probability = FastExp(ToFloat(vectors[v][i]) - merged.maximum) * scale;
        gradient[i] = column + i < count ? probability : 0.0f;
      }
      StorePart<kAligned>(dlogits + row * local.cols + column, FromFloat<T>(gradient), local.cols - column);
    }
  }
  if (has_target) {
    const double probability = exp(static_cast<double>(target_logit) - merged.maximum) / merged.sum;
    dlogits[target_at] = FromFloat<T>(static_cast<float>(probability * terms.GradientFactor(merged) - 1));
  }
}

}  // namespace

void SoftmaxStatisticsCuda(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  const LocalVocabulary local(a, shape.cols());
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const T* logits = a.inputs[0].as<T>();
    const auto kernel = IsVectorAligned(logits, local.cols) ? SoftmaxStatisticsKernel<true, T>
                                                            : SoftmaxStatisticsKernel<false, T>;
    GPU_LAUNCH(kernel, GridOf(shape.rows()), kThreads, 0, a.stream, local, logits,
               a.inputs[1].as<const int32_t>(), WideOf(a.outputs[0]));
  });
}

void CrossEntropyLossCuda(const KernelArguments& a) {
  const int64_t rows = a.inputs[1].shape.num_elements();
  if (rows == 0) return;
  const LossTerms terms(a, a.outputs[0]);
  GPU_LAUNCH(CrossEntropyLossKernel, GridOf(CeilDiv<int64_t>(rows, kLossThreads)), kLossThreads, 0, a.stream,
             terms, a.inputs[0].shape.rows() / rows, rows, WideOf(a.inputs[0]),
             a.inputs[1].as<const int32_t>(), WideOf(a.outputs[0]));
}

void CrossEntropyGradCuda(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  const int64_t rows = shape.rows();
  if (rows == 0) return;
  const LocalVocabulary local(a, shape.cols());
  const LossTerms terms(a, a.outputs[1]);
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const T* logits = a.inputs[0].as<T>();
    T* dlogits = a.outputs[0].as<T>();
    const bool aligned = IsVectorAligned(logits, local.cols) && IsVectorAligned(dlogits);
    const auto kernel = aligned ? CrossEntropyGradKernel<true, T> : CrossEntropyGradKernel<false, T>;
    GPU_LAUNCH(kernel, GridOf(rows), kThreads, 0, a.stream, local, terms, a.inputs[1].shape.rows() / rows,
               rows, logits, WideOf(a.inputs[1]), a.inputs[2].as<const int32_t>(), dlogits,
               WideOf(a.outputs[1]));
  });
}

// Of tokens in f32, or of the sums of chunks in f64.
void LossSumCuda(const KernelArguments& a) {
  const int64_t count = a.inputs[0].shape.num_elements();
  double* sums = a.outputs[0].as<double>();
  const int64_t terms = a.outputs[0].shape.num_elements();
  if (a.inputs[0].dtype == DType::kF64) {
    GPU_LAUNCH(FixedOrderSumKernel<double>, GridOf(terms), kSumThreads, 0, a.stream, count,
               a.inputs[0].as<double>(), sums);
  } else {
    GPU_LAUNCH(FixedOrderSumKernel<float>, GridOf(terms), kSumThreads, 0, a.stream, count,
               WideOf(a.inputs[0]), sums);
  }
}

}  // namespace trireme
