// What the plain and the fast cross-entropy share: which columns of the vocabulary are a rank's, and how the
// ranks' statistics of a row are put together. See runtime/ops/cross_entropy.h.
#ifndef TRIREME_RUNTIME_CPU_SOFTMAX_ROWS_H_
#define TRIREME_RUNTIME_CPU_SOFTMAX_ROWS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "runtime/kernel.h"
#include "runtime/ops/cross_entropy.h"

namespace trireme {

// The columns of the vocabulary that this rank holds, padding cut off.
struct LocalVocabulary {
  LocalVocabulary(const KernelArguments& a, int64_t cols)
      : first(a.coordinate[Axis::kTp] * cols),
        count(std::clamp<int64_t>(a.op.attributes.Int("vocabulary") - first, 0, cols)) {}
  // The local column of a target, or -1.
  int64_t Find(int64_t target) const {
    return target >= first && target < first + count ? target - first : -1;
  }
  int64_t first;
  int64_t count;
};

// A row's softmax over the whole vocabulary.
struct RowSoftmax {
  double maximum = -std::numeric_limits<double>::infinity();
  double sum = 0;  // of exp(logit - maximum)
  double target_logit = 0;

  double LogSumExp() const { return maximum + std::log(sum); }
  double Loss(int32_t target) const { return target < 0 ? 0 : LogSumExp() - target_logit; }
  double ZLoss(int32_t target, double z_loss) const {
    return target < 0 ? 0 : z_loss * LogSumExp() * LogSumExp();
  }
  // The gradient of both losses is softmax times this, less one at the target.
  double GradientFactor(double z_loss) const { return z_loss > 0 ? 1 + 2 * z_loss * LogSumExp() : 1; }
};

// Row t of `rows` from the statistics of all ranks [R rows, 3], merged in the order of the ranks.
template <typename W>
RowSoftmax MergeRanks(const View& all_statistics, int64_t rows, int64_t t) {
  const int64_t ranks = all_statistics.shape.rows() / rows;
  RowSoftmax merged;
  for (int64_t r = 0; r < ranks; ++r) {
    merged.maximum = std::max<double>(merged.maximum, all_statistics.as<W>()[3 * (r * rows + t)]);
  }
  for (int64_t r = 0; r < ranks; ++r) {
    const W* own = all_statistics.as<W>() + 3 * (r * rows + t);
    merged.sum += own[1] * std::exp(own[0] - merged.maximum);
    merged.target_logit += own[2];
  }
  return merged;
}

// Writes row t's loss, of one term or of all.
template <typename W>
void PutLoss(const View& loss, int64_t t, const RowSoftmax& row, int32_t target, double z_loss) {
  W* to = loss.as<W>() + t * (loss.shape.num_dims() == 1 ? 1 : kNumLossTerms);
  to[kCrossEntropyTerm] = static_cast<W>(row.Loss(target));
  if (loss.shape.num_dims() == 2) to[kZLossTerm] = static_cast<W>(row.ZLoss(target, z_loss));
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_SOFTMAX_ROWS_H_
