#ifndef TRIREME_MODELS_GPT2_H_
#define TRIREME_MODELS_GPT2_H_

#include <string>
#include <vector>

#include "models/model.h"

namespace trireme {

// GPT-2: a pre-norm decoder with LayerNorm, learned positions and a GELU feed-forward, biases everywhere.
// Source: Radford et al., "Language models are unsupervised multitask learners", 2019. Parameter names:
// Hugging Face GPT2LMHeadModel, whose matrices lie transposed on disk (Conv1D) and whose c_attn holds query,
// key and value side by side.
class Gpt2 : public Model {
 public:
  Gpt2(const ModelConfig& config, uint64_t seed) : config_(config), seed_(seed) {}

  int num_blocks() const override { return config_.num_hidden_layers(); }
  int64_t hidden_size() const override { return config_.hidden_size(); }
  int64_t vocabulary() const override { return config_.vocab_size(); }
  bool ties_embedding() const override { return config_.tie_word_embeddings(); }
  std::string embedding_name() const override { return "transformer.wte.weight"; }

  Tensor Embed(Recorder& recorder, const Batch& batch) const override;
  Tensor Block(int index, Tensor x, const Batch& batch) const override;
  Tensor FinalNorm(Tensor x) const override;
  Tensor HeadWeight(Recorder& recorder) const override;

 private:
  // A product with bias, column- or row-parallel. `parts`: names of the equal parts that lie side by side in
  // its columns on disk, {""} for one.
  Tensor ColumnParallel(const std::string& name, Tensor x, int64_t out,
                        const std::vector<std::string>& parts) const;
  Tensor RowParallel(const std::string& name, Tensor x, int64_t in) const;
  Tensor Norm(const std::string& name, Tensor x) const;

  const ModelConfig config_;
  const uint64_t seed_;
};

}  // namespace trireme

#endif  // TRIREME_MODELS_GPT2_H_
