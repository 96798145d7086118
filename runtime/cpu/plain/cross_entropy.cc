#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"
#include "runtime/cpu/softmax_rows.h"

namespace trireme {
namespace {

template <typename T>
void SoftmaxStatisticsOf(const KernelArguments& a) {
  const T* logits = a.inputs[0].as<T>();
  const int32_t* targets = a.inputs[1].as<int32_t>();
  Wide<T>* statistics = a.outputs[0].as<Wide<T>>();
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
  const LocalVocabulary local(a, cols);
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    const T* row = logits + t * cols;
    double maximum = -std::numeric_limits<double>::infinity();
    for (int64_t v = 0; v < local.count; ++v) maximum = std::max(maximum, Get(row, v));
    double sum = 0;
    for (int64_t v = 0; v < local.count; ++v) sum += std::exp(Get(row, v) - maximum);
    const int64_t target = local.Find(targets[t]);
    Put(statistics, 3 * t, maximum);
    Put(statistics, 3 * t + 1, sum);
    Put(statistics, 3 * t + 2, target < 0 ? 0 : Get(row, target));
  }
}

template <typename W>
void CrossEntropyLossOf(const KernelArguments& a) {
  const int32_t* targets = a.inputs[1].as<int32_t>();
  const int64_t rows = a.inputs[1].shape.num_elements();
  const double z_loss = ZLossOf(a.op, a.outputs[0].shape);
  for (int64_t t = 0; t < rows; ++t) {
    PutLoss<W>(a.outputs[0], t, MergeRanks<W>(a.inputs[0], rows, t), targets[t], z_loss);
  }
}

template <typename T>
void CrossEntropyGradOf(const KernelArguments& a) {
  const T* logits = a.inputs[0].as<T>();
  const int32_t* targets = a.inputs[2].as<int32_t>();
  T* dlogits = a.outputs[0].as<T>();
  const double z_loss = ZLossOf(a.op, a.outputs[1].shape);
  const int64_t rows = a.inputs[0].shape.rows();
  const int64_t cols = a.inputs[0].shape.cols();
  const LocalVocabulary local(a, cols);
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    const RowSoftmax merged = MergeRanks<Wide<T>>(a.inputs[1], rows, t);
    PutLoss<Wide<T>>(a.outputs[1], t, merged, targets[t], z_loss);
    const double factor = merged.GradientFactor(z_loss);
    const int64_t target = local.Find(targets[t]);
    const int64_t count = targets[t] < 0 ? 0 : local.count;
    for (int64_t v = 0; v < count; ++v) {
      const double probability = std::exp(Get(logits, t * cols + v) - merged.maximum) / merged.sum;
      Put(dlogits, t * cols + v, probability * factor - (v == target ? 1 : 0));
    }
    for (int64_t v = count; v < cols; ++v) Put(dlogits, t * cols + v, 0);
  }
}

}  // namespace

void SoftmaxStatisticsPlain(const KernelArguments& a) {
  ForFloat(a.inputs[0].dtype, [&](auto type) { SoftmaxStatisticsOf<decltype(type)>(a); });
}

void CrossEntropyLossPlain(const KernelArguments& a) {
  if (a.outputs[0].dtype == DType::kF64) {
    CrossEntropyLossOf<double>(a);
  } else {
    CrossEntropyLossOf<float>(a);
  }
}

void CrossEntropyGradPlain(const KernelArguments& a) {
  ForFloat(a.inputs[0].dtype, [&](auto type) { CrossEntropyGradOf<decltype(type)>(a); });
}

void LossSumPlain(const KernelArguments& a) {
  ForFloat(a.inputs[0].dtype, [&](auto type) {
    const auto* loss = a.inputs[0].as<decltype(type)>();
    const int64_t terms = a.outputs[0].shape.num_elements();
    for (int64_t term = 0; term < terms; ++term) {
      double sum = 0;
      for (int64_t t = term; t < a.inputs[0].shape.num_elements(); t += terms) sum += Get(loss, t);
      a.outputs[0].as<double>()[term] = sum;
    }
  });
}

}  // namespace trireme
