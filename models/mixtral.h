#ifndef TRIREME_MODELS_MIXTRAL_H_
#define TRIREME_MODELS_MIXTRAL_H_

#include <string>

#include "models/llama.h"

namespace trireme {

// Mixtral: LLaMA with a mixture of experts in place of the feed-forward. A softmax router sends each token to
// its k best of E SwiGLU experts; no token is dropped. Source: arXiv:2401.04088. Parameter names: Hugging
// Face MixtralForCausalLM. Shared experts, which every token goes to with weight one, are one unit as wide as
// all of them (arXiv:2401.06066 section 3.2), and on every rank of ep; Hugging Face's Mixtral has none.
class Mixtral : public Llama {
 public:
  using Llama::Llama;

 private:
  Tensor FeedForward(const std::string& block, Tensor x, const Batch& batch) const override;
  // The logits of the router, and its losses as auxiliary roots.
  Tensor RouterLogits(const std::string& name, Tensor x) const;
  // Every expert's matrices of one kind, one below the other.
  Tensor GateUp(const std::string& name, Recorder& recorder) const;
  Tensor Down(const std::string& name, Recorder& recorder) const;
};

}  // namespace trireme

#endif  // TRIREME_MODELS_MIXTRAL_H_
