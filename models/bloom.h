#ifndef TRIREME_MODELS_BLOOM_H_
#define TRIREME_MODELS_BLOOM_H_

#include <string>

#include "models/model.h"

namespace trireme {

// BLOOM: a pre-norm decoder with LayerNorm (one behind the embedding too), attention with linear biases
// instead of positions (runtime/alibi.h) and a GELU feed-forward of four times the width, biases everywhere.
// Source: arXiv:2211.05100. Parameter names: Hugging Face BloomForCausalLM, without
// apply_residual_connection_post_layernorm; its query_key_value holds query, key and value of each head side
// by side.
class Bloom : public Model {
 public:
  Bloom(const ModelConfig& config, uint64_t seed) : config_(config), seed_(seed) {}

  int num_blocks() const override { return config_.num_hidden_layers(); }
  int64_t hidden_size() const override { return config_.hidden_size(); }
  int64_t vocabulary() const override { return config_.vocab_size(); }
  bool ties_embedding() const override { return config_.tie_word_embeddings(); }
  std::string embedding_name() const override { return "transformer.word_embeddings.weight"; }
  int64_t alibi_heads() const override { return config_.num_attention_heads(); }

  Tensor Embed(Recorder& recorder, const Batch& batch) const override;
  Tensor Block(int index, Tensor x, const Batch& batch) const override;
  Tensor FinalNorm(Tensor x) const override;
  Tensor HeadWeight(Recorder& recorder) const override;

 private:
  Tensor Norm(const std::string& name, Tensor x) const;
  Tensor QueryKeyValue(const std::string& name, Tensor x) const;
  // A product with bias.
  Tensor ColumnParallel(const std::string& name, Tensor x, int64_t out) const;
  Tensor RowParallel(const std::string& name, Tensor x, int64_t in) const;

  const ModelConfig config_;
  const uint64_t seed_;
};

}  // namespace trireme

#endif  // TRIREME_MODELS_BLOOM_H_
