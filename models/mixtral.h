#ifndef TRIREME_MODELS_MIXTRAL_H_
#define TRIREME_MODELS_MIXTRAL_H_

#include <string>

#include "models/llama.h"
#include "runtime/ops/routing.h"

namespace trireme {

// Mixtral: LLaMA with a mixture of experts in place of the feed-forward. A softmax router sends each token to
// its k best of E SwiGLU experts. Source: arXiv:2401.04088. Parameter names: Hugging Face
// MixtralForCausalLM. No choice is dropped, unless a capacity factor says how many of a sequence an expert
// takes. Shared experts, which every token goes to with weight one, are one unit as wide as all of them
// (arXiv:2401.06066 section 3.2), and on every rank of ep; Hugging Face's Mixtral has none.
class Mixtral : public Llama {
 public:
  using Llama::Llama;

 private:
  Tensor FeedForward(const std::string& block, Tensor x, const Batch& batch) const override;
  // The logits of the router, and its losses as auxiliary roots.
  Tensor RouterLogits(const std::string& name, Tensor x) const;
  // Of a sequence, how many tokens each expert takes: the factor times its even share, rounded up, or all.
  int64_t Capacity(int64_t sequence_length) const;
  // This rank's rows, by expert, of the choices `experts` that are not dropped.
  Groups GroupChoices(Tensor experts, const Batch& batch) const;
  // Every expert's matrices of one kind, one below the other.
  Tensor GateUp(const std::string& name, Recorder& recorder) const;
  Tensor Down(const std::string& name, Recorder& recorder) const;
};

}  // namespace trireme

#endif  // TRIREME_MODELS_MIXTRAL_H_
