// Activations of the feed-forward.
#ifndef TRIREME_RUNTIME_OPS_ACTIVATION_H_
#define TRIREME_RUNTIME_OPS_ACTIVATION_H_

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// Gaussian error linear unit, tanh form: y = x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).
// Source: arXiv:1606.08415; the form of GPT-2 (Hugging Face "gelu_new").
// kGelu: (x [T, F]) -> y [T, F];  kGeluGrad: (dy, x) -> dx, may overwrite dy
Tensor Gelu(Tensor x);
void GeluGradient(GradientContext& g);

// Gated unit: gate_up holds gate [T, F] in its columns [0, F) and up in [F, 2F); y = gate * sigmoid(gate) *
// up. Source: arXiv:2002.05202. Under tensor parallelism each rank's columns are its own gate and up.
// With `offsets` (i32, of experts' rows) the rows from its last on do not exist and need not be computed.
// kSwiGlu: (gate_up [T, 2F] [, offsets]) -> y [T, F];  kSwiGluGrad: (dy [T, F], gate_up [T, 2F] [, offsets])
// -> dgate_up [T, 2F], may overwrite gate_up
Tensor SwiGlu(Tensor gate_up, Tensor offsets = {});
void SwiGluGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_ACTIVATION_H_
