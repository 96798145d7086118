#include "models/gpt2.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "models/layers.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/dropout.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/linear.h"

namespace trireme {
Tensor Gpt2::Norm(const std::string& name, Tensor x) const {
  Recorder& recorder = x.recorder();
  const Tensor gain = recorder.Parameters({Vector(name + ".weight", hidden_size(), 1, OnStream(x))});
  const Tensor bias = recorder.Parameters({Vector(name + ".bias", hidden_size(), 0, OnStream(x))});
  return LayerNorm(x, gain, bias, config_.layer_norm_eps());
}

Tensor Gpt2::ColumnParallel(const std::string& name, Tensor x, int64_t out,
                            const std::vector<std::string>& parts) const {
  const int64_t in = hidden_size(), num_parts = static_cast<int64_t>(parts.size());
  std::vector<Parameter> weights, biases;
  for (int64_t i = 0; i < num_parts; ++i) {
    Parameter weight =
        Matrix(absl::StrCat(name, ".weight", parts[i]), out / num_parts, in, 0, kInitialDeviation);
    weight.disk_name = name + ".weight";
    weight.disk_shape = {in, out};
    weight.disk_row = i * out / num_parts;
    weight.disk_transposed = true;
    weights.push_back(weight);
    Parameter bias = Vector(absl::StrCat(name, ".bias", parts[i]), out / num_parts, 0, Shard(0));
    bias.disk_name = name + ".bias";
    bias.disk_shape = {out};
    bias.disk_row = i * out / num_parts;
    biases.push_back(bias);
  }
  return Linear(x, x.recorder().Parameters(weights), x.recorder().Parameters(biases));
}

Tensor Gpt2::RowParallel(const std::string& name, Tensor x, int64_t in) const {
  // What writes to the residual stream starts smaller, so that the stream's variance does not grow with
  // depth.
  const double deviation = kInitialDeviation / std::sqrt(2.0 * num_blocks());
  Parameter weight = Matrix(name + ".weight", hidden_size(), in, 1, deviation);
  weight.disk_name = weight.name;
  weight.disk_shape = {in, hidden_size()};
  weight.disk_transposed = true;
  const Tensor bias = x.recorder().Parameters({Vector(name + ".bias", hidden_size(), 0, kInvariant)});
  return Linear(x, x.recorder().Parameters({weight}), RowBias(bias));
}

Tensor Gpt2::Embed(Recorder& recorder, const Batch& batch) const {
  const Tensor tokens = recorder.Parameters(
      {VocabularyMatrix(embedding_name(), vocabulary(), hidden_size(), kInitialDeviation, recorder)});
  Parameter positions = Matrix("transformer.wpe.weight", config_.max_position_embeddings(), hidden_size(), 0,
                               kInitialDeviation / 2);
  positions.layout = {kReplicate, OnStream(batch.token_index)};
  const Tensor x = ToStream(Embedding(batch.ids, tokens), batch.token_index) +
                   Embedding(batch.stream_positions, recorder.Parameters({positions}));
  return Dropout(x, batch.token_index, config_.dropout(), seed_, "embedding.dropout");
}

Tensor Gpt2::Block(int index, Tensor x, const Batch& batch) const {
  const std::string name = absl::StrCat("transformer.h.", index);
  const int64_t d = hidden_size(), heads = config_.num_attention_heads();
  const int64_t local_heads = heads / x.recorder().mesh()[Axis::kTp];
  const HeadShape head_shape = {local_heads, local_heads, d / heads};

  const Tensor qkv =
      ColumnParallel(name + ".attn.c_attn", FromStream(Norm(name + ".ln_1", x)), 3 * d, {".q", ".k", ".v"});
  const Tensor mixed = Attend(qkv, head_shape, batch);
  Tensor attention = ToStream(RowParallel(name + ".attn.c_proj", mixed, d), x);
  attention = Dropout(attention, batch.token_index, config_.dropout(), seed_, name + ".attn.dropout");
  const Tensor h = x + attention;

  const int64_t f = config_.intermediate_size();
  const Tensor wide = Gelu(ColumnParallel(name + ".mlp.c_fc", FromStream(Norm(name + ".ln_2", h)), f, {""}));
  Tensor feed = ToStream(RowParallel(name + ".mlp.c_proj", wide, f), x);
  feed = Dropout(feed, batch.token_index, config_.dropout(), seed_, name + ".mlp.dropout");
  return h + feed;
}

Tensor Gpt2::FinalNorm(Tensor x) const {
  return Norm("transformer.ln_f", x);
}

Tensor Gpt2::HeadWeight(Recorder& recorder) const {
  const std::string name = ties_embedding() ? embedding_name() : "lm_head.weight";
  return recorder.Parameters(
      {VocabularyMatrix(name, vocabulary(), hidden_size(), kInitialDeviation, recorder)});
}

}  // namespace trireme
