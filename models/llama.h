#ifndef TRIREME_MODELS_LLAMA_H_
#define TRIREME_MODELS_LLAMA_H_

#include <string>

#include "models/model.h"
#include "runtime/ops/rope.h"

namespace trireme {

// LLaMA: a pre-norm decoder with RMSNorm, rotary grouped-query attention and a SwiGLU feed-forward.
// Source: arXiv:2302.13971; grouped queries arXiv:2305.13245. Parameter names: Hugging Face LlamaForCausalLM.
class Llama : public Model {
 public:
  Llama(const ModelConfig& config, uint64_t seed) : config_(config), seed_(seed) {}

  int num_blocks() const override { return config_.num_hidden_layers(); }
  int64_t hidden_size() const override { return config_.hidden_size(); }
  int64_t vocabulary() const override { return config_.vocab_size(); }
  bool ties_embedding() const override { return config_.tie_word_embeddings(); }
  std::string embedding_name() const override { return "model.embed_tokens.weight"; }

  Tensor Embed(Recorder& recorder, const Batch& batch) const override;
  Tensor Block(int index, Tensor x, const Batch& batch) const override;
  Tensor FinalNorm(Tensor x) const override;
  Tensor HeadWeight(Recorder& recorder) const override;

 protected:
  // The feed-forward of block `block` ("model.layers.0"), from the normalised stream to what is added to it.
  virtual Tensor FeedForward(const std::string& block, Tensor x, const Batch& batch) const;
  // A SwiGLU of `width` columns over `in`, as it is read from the stream: Partial on tp.
  Tensor GatedUnit(const std::string& name, Tensor in, int64_t width) const;
  // The initial deviation of matrices that write to the stream.
  double ResidualDeviation() const;
  const ModelConfig& config() const { return config_; }

 private:
  Tensor Attend(const std::string& name, Tensor x, const Batch& batch) const;
  // The projections of this rank's query heads and of the key and value heads that they read, side by side.
  Tensor QueryKeyValue(const std::string& name, Tensor x, int64_t head_size) const;
  Tensor Norm(const std::string& name, Tensor x) const;

  const ModelConfig config_;
  const uint64_t seed_;
};

}  // namespace trireme

#endif  // TRIREME_MODELS_LLAMA_H_
