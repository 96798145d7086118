// The update, over flat ranges of parameter storage. Everything that differs between steps is read from
// memory.
#ifndef TRIREME_RUNTIME_OPS_OPTIMIZER_H_
#define TRIREME_RUNTIME_OPS_OPTIMIZER_H_

#include "runtime/recorder.h"

namespace trireme {

// What the host writes before each step, f64 [kNumStepInputs].
enum StepInput { kLearningRate, kTokens, kNumStepInputs };
// What kStepFactors makes of it, f64 [kNumStepFactors]; `kApply` is 1, or 0 for a step whose gradient is not
// finite.
enum StepFactor {
  kGradientScale,
  kFactorLearningRate,
  kBiasCorrection1,
  kBiasCorrection2,
  kApply,
  kGradientNorm,
  kNumStepFactors
};

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
};

// kSquaredNorm: (gradient [n] wide) -> f64 [1] = sum of squares, added in double in blocks of fixed size in a
// fixed order, whatever the number of threads. The result is written to `out`, a window of a table.
void SquaredNorm(Tensor gradient, Tensor out);

// kStepFactors: (squared_norm f64 [1] over the whole mesh, inputs f64 [kNumStepInputs], updates f64 [1]) ->
// factors f64 [kNumStepFactors], updates: gradients are sums over tokens, so norm = sqrt(squared_norm) /
// tokens, and gradient_scale = min(1, clip_norm / (norm + 1e-6)) / tokens (clip_norm 0: 1 / tokens).
// `updates` counts the applied updates and is incremented first, in place, unless the norm is not finite;
// bias_correction = 1 - beta^updates. Attributes: beta1, beta2, clip_norm
void StepFactors(Tensor squared_norm, Tensor inputs, Tensor updates, Tensor factors,
                 const AdamWOptions& options, double clip_norm);

// AdamW. Source: arXiv:1711.05101, as PyTorch's torch.optim.AdamW: with g = gradient * gradient_scale,
//   p -= lr * weight_decay * p;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
//   p -= lr / bias_correction1 * m / (sqrt(v / bias_correction2) + epsilon)
// kAdamW: (gradient, p, m, v [n] all wide, factors) -> p, m, v in place; nothing where factors[kApply] is 0.
// Attributes: beta1, beta2, epsilon, weight_decay
void AdamW(Tensor gradient, Tensor p, Tensor m, Tensor v, Tensor factors, const AdamWOptions& options,
           bool decay);

// Where p is bf16 and has no wide copy, its new value is rounded stochastically (runtime/rounding.h):
// kAdamW takes two inputs more, places i64 [P, kNumRoundingPlaceFields] and updates f64 [1], that of
// StepFactors.
struct Rounding {
  Tensor places;
  Tensor updates;
};
void AdamW(Tensor gradient, Tensor p, Tensor m, Tensor v, Tensor factors, const AdamWOptions& options,
           bool decay, const Rounding& rounding);

// kCast: (p wide [n]) -> copy [n], the compute copy.
void CastTo(Tensor p, Tensor copy);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_OPTIMIZER_H_
