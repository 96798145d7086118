// The bias of attention by distance, for kernels that are compiled with and without it.
#ifndef TRIREME_RUNTIME_CUDA_ATTENTION_BIAS_H_
#define TRIREME_RUNTIME_CUDA_ATTENTION_BIAS_H_

#include <type_traits>

#include "runtime/cuda/attention_operands.h"
#include "runtime/cuda/gpu.h"
#include "runtime/kernel.h"

namespace trireme {

// What falls with the distance (ops/attention.h): slopes [H] and, of a block, where its queries and keys
// stand. Only kernels with kAlibi read it.
struct DistanceBias {
  const float* slopes;
  const int* query_places;
  const int* key_places;
};

// A scaled score times log2(e), with its bias.
template <bool kAlibi>
GPU_FN float WithBias(float score, const DistanceBias& bias, int head, const int* key_place,
                      const int* query_place) {
  if constexpr (kAlibi) {
    return fmaf(bias.slopes[head] * kLog2E, static_cast<float>(*key_place - *query_place), score);
  }
  return score;
}

// Calls f(whether there are slopes, the bias): the optional inputs from `first` on.
template <typename F>
void ForBias(const KernelArguments& a, size_t first, F f) {
  if (a.inputs.size() <= first) return f(std::false_type(), DistanceBias{});
  DistanceBias bias = {a.inputs[first].as<float>(), nullptr, nullptr};
  if (a.inputs.size() > first + 1) {
    bias.query_places = a.inputs[first + 1].as<int>();
    bias.key_places = a.inputs[first + 2].as<int>();
  }
  f(std::true_type(), bias);
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_ATTENTION_BIAS_H_
