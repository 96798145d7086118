#include <algorithm>
#include <cmath>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"
#include "runtime/token_order.h"

namespace trireme {
namespace {

template <typename T>
double LargestOf(const T* row, int64_t cols) {
  double largest = Get(row, 0);
  for (int64_t e = 1; e < cols; ++e) {
    const double x = Get(row, e);
    if (!(x <= largest)) largest = x;  // a NaN stays
  }
  return largest;
}

template <typename T>
double LogSumExp(const T* row, int64_t cols) {
  const double largest = LargestOf(row, cols);
  double sum = 0;
  for (int64_t e = 0; e < cols; ++e) sum += std::exp(Get(row, e) - largest);
  return largest + std::log(sum);
}

// A NaN is the largest, so that it is chosen and reaches the weights.
bool IsLarger(double a, double b) {
  return a > b || (std::isnan(a) && !std::isnan(b));
}

template <typename T>
void RouterOf(const KernelArguments& a) {
  const int64_t rows = a.inputs[0].shape[0], cols = a.inputs[0].shape[1], k = a.outputs[0].shape[1];
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    const T* row = a.inputs[0].as<T>() + t * cols;
    Wide<T>* weights = a.outputs[0].as<Wide<T>>() + t * k;
    int32_t* experts = a.outputs[1].as<int32_t>() + t * k;
    for (int64_t j = 0; j < k; ++j) {
      int32_t best = -1;
      for (int32_t e = 0; e < cols; ++e) {
        if (std::find(experts, experts + j, e) != experts + j) continue;
        if (best < 0 || IsLarger(Get(row, e), Get(row, best))) best = e;
      }
      experts[j] = best;
    }
    // The softmax over all, divided by the sum of the chosen, is the softmax over the chosen.
    double sum = 0;
    const double largest = Get(row, experts[0]);
    for (int64_t j = 0; j < k; ++j) sum += std::exp(Get(row, experts[j]) - largest);
    for (int64_t j = 0; j < k; ++j) Put(weights, j, std::exp(Get(row, experts[j]) - largest) / sum);
  }
}

template <typename T>
void RouterGradOf(const KernelArguments& a) {
  const int64_t rows = a.inputs[0].shape[0], k = a.inputs[0].shape[1], cols = a.outputs[0].shape[1];
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    const Wide<T>* dweights = a.inputs[0].as<Wide<T>>() + t * k;
    const Wide<T>* weights = a.inputs[1].as<Wide<T>>() + t * k;
    const int32_t* experts = a.inputs[2].as<int32_t>() + t * k;
    T* dlogits = a.outputs[0].as<T>() + t * cols;
    const double mean = Dot(dweights, weights, k);
    for (int64_t e = 0; e < cols; ++e) Put(dlogits, e, 0);
    for (int64_t j = 0; j < k; ++j) Put(dlogits, experts[j], Get(weights, j) * (Get(dweights, j) - mean));
  }
}

// The sequences of a rank's rows: cp's ranks have other rows each, and tp's do where tp shards them.
class SequenceOfRow {
 public:
  SequenceOfRow(const KernelArguments& a, int64_t rows, int64_t sequences) {
    const int64_t shards = a.op.attributes.Int("tp_shards"), cp = a.mesh[Axis::kCp];
    order_ = {rows * shards * cp, cp, a.op.attributes.Int("balanced") != 0};
    tokens_per_sequence_ = order_.tokens / sequences;
    rank_ = a.coordinate[Axis::kCp];
    first_row_ = shards > 1 ? a.coordinate[Axis::kTp] * rows : 0;
  }
  int64_t operator()(int64_t row) const {
    return order_.StreamIndex(rank_, first_row_ + row) / tokens_per_sequence_;
  }

 private:
  TokenOrder order_;
  int64_t tokens_per_sequence_ = 1;
  int64_t rank_ = 0;
  int64_t first_row_ = 0;
};

template <typename T>
void RouterLossOf(const KernelArguments& a) {
  const int64_t rows = a.inputs[0].shape[0], cols = a.inputs[0].shape[1];
  const double balance = a.op.attributes.Float("balance"), z = a.op.attributes.Float("z");
  const double scale = balance * static_cast<double>(cols);
  const auto length = static_cast<double>(a.op.attributes.Int("sequence_length"));
  T* dlogits = a.outputs.size() > 1 ? a.outputs[1].as<T>() : nullptr;
  const SequenceOfRow sequence_of(a, rows, a.inputs[1].shape[0]);
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    const T* row = a.inputs[0].as<T>() + t * cols;
    const int32_t* counts = a.inputs[1].as<int32_t>() + sequence_of(t) * cols;
    const double normaliser = LogSumExp(row, cols);
    double expected = 0;  // of f, under the token's softmax
    for (int64_t e = 0; e < cols; ++e) expected += std::exp(Get(row, e) - normaliser) * counts[e] / length;
    Put(a.outputs[0].as<Wide<T>>(), t, scale * expected + z * normaliser * normaliser);
    if (dlogits == nullptr) continue;
    for (int64_t e = 0; e < cols; ++e) {
      const double p = std::exp(Get(row, e) - normaliser);
      Put(dlogits, t * cols + e, p * (scale * (counts[e] / length - expected) + 2 * z * normaliser));
    }
  }
}

template <typename T>
void PermuteRowsOf(const KernelArguments& a) {
  const int64_t rows = a.outputs[0].shape[0], cols = a.outputs[0].shape[1];
  const int64_t k = rows / std::max<int64_t>(1, a.inputs[0].shape[0]);
  const int32_t* order = a.inputs[1].as<int32_t>();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t p = 0; p < rows; ++p) {
    T* row = a.outputs[0].as<T>() + p * cols;
    if (order[p] < 0) {
      std::fill_n(row, cols, T{});
    } else {
      std::copy_n(a.inputs[0].as<T>() + order[p] / k * cols, cols, row);
    }
  }
}

template <typename T>
void PermuteRowsGradOf(const KernelArguments& a) {
  const int64_t rows = a.outputs[0].shape[0], cols = a.outputs[0].shape[1];
  const int64_t k = a.inputs[0].shape[0] / std::max<int64_t>(1, rows);
  const T* drows = a.inputs[0].as<T>();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    const int32_t* place = a.inputs[1].as<int32_t>() + t * k;
    for (int64_t d = 0; d < cols; ++d) {
      double sum = 0;
      for (int64_t j = 0; j < k; ++j) {
        if (place[j] >= 0) sum += Get(drows, place[j] * cols + d);
      }
      Put(a.outputs[0].as<T>(), t * cols + d, sum);
    }
  }
}

template <typename T>
void CombineRowsOf(const KernelArguments& a) {
  const int64_t rows = a.outputs[0].shape[0], cols = a.outputs[0].shape[1], k = a.inputs[1].shape[1];
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    const Wide<T>* weights = a.inputs[1].as<Wide<T>>() + t * k;
    const int32_t* place = a.inputs[2].as<int32_t>() + t * k;
    for (int64_t d = 0; d < cols; ++d) {
      double sum = 0;
      for (int64_t j = 0; j < k; ++j) {
        if (place[j] >= 0) sum += Get(weights, j) * Get(a.inputs[0].as<T>(), place[j] * cols + d);
      }
      Put(a.outputs[0].as<T>(), t * cols + d, sum);
    }
  }
}

template <typename T>
void CombineRowsGradOf(const KernelArguments& a) {
  const int64_t rows = a.inputs[0].shape[0], cols = a.inputs[0].shape[1], k = a.inputs[2].shape[1];
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    const T* dout = a.inputs[0].as<T>() + t * cols;
    for (int64_t j = 0; j < k; ++j) {
      const int64_t p = a.inputs[3].as<int32_t>()[t * k + j];
      if (p < 0) {
        Put(a.outputs[1].as<Wide<T>>(), t * k + j, 0);
        continue;
      }
      const double weight = Get(a.inputs[2].as<Wide<T>>(), t * k + j);
      for (int64_t d = 0; d < cols; ++d) Put(a.outputs[0].as<T>(), p * cols + d, weight * Get(dout, d));
      Put(a.outputs[1].as<Wide<T>>(), t * k + j, Dot(dout, a.inputs[1].as<T>() + p * cols, cols));
    }
  }
}

}  // namespace

void RouterPlain(const KernelArguments& a) {
  ForFloat(a.inputs[0].dtype, [&](auto type) { RouterOf<decltype(type)>(a); });
}

void RouterGradPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { RouterGradOf<decltype(type)>(a); });
}

void RouterLossPlain(const KernelArguments& a) {
  ForFloat(a.inputs[0].dtype, [&](auto type) { RouterLossOf<decltype(type)>(a); });
}

void CountChoicesPlain(const KernelArguments& a) {
  const int64_t rows = a.inputs[0].shape[0], k = a.inputs[0].shape[1], experts = a.outputs[0].shape[1];
  const int32_t* chosen = a.inputs[0].as<int32_t>();
  int32_t* counts = a.outputs[0].as<int32_t>();
  const SequenceOfRow sequence_of(a, rows, a.outputs[0].shape[0]);
  std::fill_n(counts, a.outputs[0].shape.num_elements(), 0);
  for (int64_t c = 0; c < rows * k; ++c) ++counts[sequence_of(c / k) * experts + chosen[c]];
}

int64_t DropOverflowPlainWorkspaceBytes(const Op& op, absl::Span<const View>, absl::Span<const View>, int) {
  return op.attributes.Int("num_experts") * static_cast<int64_t>(sizeof(int32_t));
}

void DropOverflowPlain(const KernelArguments& a) {
  const int64_t tokens = a.inputs[0].shape[0], k = a.inputs[0].shape[1], here = a.outputs[0].shape[0];
  const Attributes& attributes = a.op.attributes;
  const TokenOrder order = {tokens, a.mesh[Axis::kCp], attributes.Int("balanced") != 0};
  const int64_t length = tokens / attributes.Int("sequences"), capacity = attributes.Int("capacity");
  const int64_t begin = a.coordinate[Axis::kCp] * here;
  auto* taken = static_cast<int32_t*>(a.workspace);
  for (int64_t t = 0; t < tokens; ++t) {
    if (t % length == 0) std::fill_n(taken, attributes.Int("num_experts"), 0);
    const int64_t row = order.GatheredIndex(t);
    const int32_t* chosen = a.inputs[0].as<int32_t>() + row * k;
    for (int64_t j = 0; j < k; ++j) {
      const bool keeps = taken[chosen[j]]++ < capacity;
      if (row < begin || row >= begin + here) continue;
      a.outputs[0].as<int32_t>()[(row - begin) * k + j] = keeps ? chosen[j] : -1;
    }
  }
}

void CountDroppedPlain(const KernelArguments& a) {
  const int32_t* offsets = a.inputs[0].as<int32_t>();
  const int64_t rows = offsets[a.inputs[0].shape[0] - 1];
  *a.outputs[0].as<int64_t>() += a.op.attributes.Int("choices") - rows;
}

void GroupByExpertPlain(const KernelArguments& a) {
  const int64_t rows = a.inputs[0].shape.num_elements(), experts = a.outputs[2].shape[0] - 1;
  const int32_t* chosen = a.inputs[0].as<int32_t>();
  int32_t* order = a.outputs[0].as<int32_t>();
  int32_t* place = a.outputs[1].as<int32_t>();
  int32_t* offsets = a.outputs[2].as<int32_t>();
  // offsets[e + 1] counts, then is the begin of e + 1 while e's rows are dealt out up to it.
  std::fill_n(offsets, experts + 1, 0);
  for (int64_t c = 0; c < rows; ++c) {
    if (chosen[c] >= 0) ++offsets[chosen[c] + 1];
  }
  for (int64_t e = 0; e < experts; ++e) offsets[e + 1] += offsets[e];
  std::fill(order + offsets[experts], order + rows, -1);
  for (int64_t c = 0; c < rows; ++c) {
    place[c] = chosen[c] < 0 ? -1 : offsets[chosen[c]]++;
    if (place[c] >= 0) order[place[c]] = static_cast<int32_t>(c);
  }
  // Each begin has moved to the next one's.
  for (int64_t e = experts; e > 0; --e) offsets[e] = offsets[e - 1];
  offsets[0] = 0;
}

void ReceivedOffsetsPlain(const KernelArguments& a) {
  const int64_t ranks = a.inputs[0].shape[0], experts = a.inputs[0].shape[1] - 1;
  int32_t* offsets = a.outputs[0].as<int32_t>();
  offsets[0] = 0;
  for (int64_t e = 0; e < experts; ++e) {
    offsets[e + 1] = offsets[e];
    for (int64_t r = 0; r < ranks; ++r) {
      const int32_t* of_rank = a.inputs[0].as<int32_t>() + r * (experts + 1) + e;
      offsets[e + 1] += of_rank[1] - of_rank[0];
    }
  }
}

void PermuteRowsPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { PermuteRowsOf<decltype(type)>(a); });
}

void PermuteRowsGradPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { PermuteRowsGradOf<decltype(type)>(a); });
}

void CombineRowsPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { CombineRowsOf<decltype(type)>(a); });
}

void CombineRowsGradPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { CombineRowsGradOf<decltype(type)>(a); });
}

}  // namespace trireme
