#include "runtime/ops/optimizer.h"

#include <algorithm>
#include <cmath>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"
#include "runtime/rounding.h"

namespace trireme {
namespace {

// Stores p[i] = value, rounded where it must be.
template <typename P>
void PutParameter(const KernelArguments& a, P* p, int64_t i, double value) {
  if constexpr (std::is_same_v<P, Bf16>) {
    const auto* places = a.inputs[5].as<RoundingPlace>();
    const RoundingPlace* place = FindRoundingPlace(places, a.inputs[5].shape.rows(), i);
    const auto update = static_cast<uint64_t>(*a.inputs[6].as<double>());
    p[i] = RoundStochastically(static_cast<float>(value), RoundingWord(*place, i, update));
  } else {
    Put(p, i, value);
  }
}

template <typename T, typename P>
void AdamWOf(const KernelArguments& a) {
  const T* gradient = a.inputs[0].as<T>();
  P* p = a.inputs[1].as<P>();
  T* m = a.inputs[2].as<T>();
  T* v = a.inputs[3].as<T>();
  const double* factors = a.inputs[4].as<double>();
  if (factors[kApply] == 0) return;
  const Attributes& attributes = a.op.attributes;
  const double beta1 = attributes.Float("beta1");
  const double beta2 = attributes.Float("beta2");
  const double epsilon = attributes.Float("epsilon");
  const double rate = factors[kFactorLearningRate];
  const double keep = 1 - rate * attributes.Float("weight_decay");
  const int64_t n = a.inputs[0].shape.num_elements();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t i = 0; i < n; ++i) {
    const double g = Get(gradient, i) * factors[kGradientScale];
    const double first = beta1 * Get(m, i) + (1 - beta1) * g;
    const double second = beta2 * Get(v, i) + (1 - beta2) * g * g;
    const double root = std::sqrt(second / factors[kBiasCorrection2]) + epsilon;
    Put(m, i, first);
    Put(v, i, second);
    PutParameter(a, p, i, Get(p, i) * keep - rate / factors[kBiasCorrection1] * first / root);
  }
}

}  // namespace

void SquaredNormPlain(const KernelArguments& a) {
  ForFloat(a.inputs[0].dtype, [&](auto type) {
    const auto* gradient = a.inputs[0].as<decltype(type)>();
    double sum = 0;
    for (int64_t i = 0; i < a.inputs[0].shape.num_elements(); ++i) sum += Get(gradient, i) * Get(gradient, i);
    *a.outputs[0].as<double>() = sum;
  });
}

void StepFactorsPlain(const KernelArguments& a) {
  const double squared_norm = *a.inputs[0].as<double>();
  const double* inputs = a.inputs[1].as<double>();
  double* updates = a.inputs[2].as<double>();
  double* factors = a.outputs[0].as<double>();
  const Attributes& attributes = a.op.attributes;
  const double clip_norm = attributes.Float("clip_norm");
  const double norm = std::sqrt(squared_norm) / inputs[kTokens];
  const bool finite = std::isfinite(norm);
  if (finite) *updates += 1;
  factors[kGradientScale] = (clip_norm > 0 ? std::min(1.0, clip_norm / (norm + 1e-6)) : 1) / inputs[kTokens];
  factors[kFactorLearningRate] = inputs[kLearningRate];
  factors[kBiasCorrection1] = 1 - std::pow(attributes.Float("beta1"), *updates);
  factors[kBiasCorrection2] = 1 - std::pow(attributes.Float("beta2"), *updates);
  factors[kApply] = finite ? 1 : 0;
  factors[kGradientNorm] = norm;
}

void AdamWPlain(const KernelArguments& a) {
  ForFloat(a.inputs[1].dtype, [&](auto type) { AdamWOf<Wide<decltype(type)>, decltype(type)>(a); });
}

}  // namespace trireme
