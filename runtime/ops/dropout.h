// Dropout whose mask is a pure function of (seed, name, sample and position, feature).
#ifndef TRIREME_RUNTIME_OPS_DROPOUT_H_
#define TRIREME_RUNTIME_OPS_DROPOUT_H_

#include <string_view>

#include "runtime/autograd.h"
#include "runtime/recorder.h"

namespace trireme {

// y = x / (1 - rate) where kept, else 0. Element (t, d) is kept where word d % 4 of
// RandomStream(seed, name).Words(token_index[t], d / 4) is at least rate * 2^32 (random.h): no state, so
// every mesh, micro-batch size and recomputation draws the same mask, and backward is the same op on the
// gradient.
//   x            [T, D]    D not sharded
//   token_index  i64 [T]   global: sample * sequence_length + position
// Returns x itself for rate 0. kDropout: (x, token_index) -> y; may overwrite x. Attributes: rate (float),
// seed, name (its HashName).
Tensor Dropout(Tensor x, Tensor token_index, double rate, uint64_t seed, std::string_view name);
void DropoutGradient(GradientContext& g);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_DROPOUT_H_
