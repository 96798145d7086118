#include "models/bloom.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "models/layers.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/dropout.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/linear.h"

namespace trireme {

Tensor Bloom::Norm(const std::string& name, Tensor x) const {
  Recorder& recorder = x.recorder();
  const Tensor gain = recorder.Parameters({Vector(name + ".weight", hidden_size(), 1, OnStream(x))});
  const Tensor bias = recorder.Parameters({Vector(name + ".bias", hidden_size(), 0, OnStream(x))});
  return LayerNorm(x, gain, bias, config_.layer_norm_eps());
}

Tensor Bloom::QueryKeyValue(const std::string& name, Tensor x) const {
  const int64_t d = hidden_size(), head_size = d / config_.num_attention_heads();
  const auto take_turns = [&](Parameter parameter, const std::string& disk_name, int64_t part) {
    parameter.disk_name = disk_name;
    parameter.disk_shape = parameter.global_shape.num_dims() == 2 ? Shape({3 * d, d}) : Shape({3 * d});
    parameter.disk_row = part * head_size;
    parameter.disk_run = head_size;
    parameter.disk_stride = 3 * head_size;
    return parameter;
  };
  std::vector<Parameter> weights, biases;
  for (const char* part : {".q", ".k", ".v"}) {
    const auto number = static_cast<int64_t>(weights.size());
    const std::string weight = name + ".weight", bias = name + ".bias";
    weights.push_back(take_turns(Matrix(weight + part, d, d, 0, kInitialDeviation), weight, number));
    biases.push_back(take_turns(Vector(bias + part, d, 0, Shard(0)), bias, number));
  }
  return Linear(x, x.recorder().Parameters(weights), x.recorder().Parameters(biases));
}

Tensor Bloom::ColumnParallel(const std::string& name, Tensor x, int64_t out) const {
  const Parameter weight = Matrix(name + ".weight", out, hidden_size(), 0, kInitialDeviation);
  const Tensor bias = x.recorder().Parameters({Vector(name + ".bias", out, 0, Shard(0))});
  return Linear(x, x.recorder().Parameters({weight}), bias);
}

Tensor Bloom::RowParallel(const std::string& name, Tensor x, int64_t in) const {
  // What writes to the residual stream starts smaller, so that the stream's variance does not grow with
  // depth.
  const double deviation = kInitialDeviation / std::sqrt(2.0 * num_blocks());
  const Parameter weight = Matrix(name + ".weight", hidden_size(), in, 1, deviation);
  const Tensor bias = x.recorder().Parameters({Vector(name + ".bias", hidden_size(), 0, kInvariant)});
  return Linear(x, x.recorder().Parameters({weight}), RowBias(bias));
}

Tensor Bloom::Embed(Recorder& recorder, const Batch& batch) const {
  const Tensor table = recorder.Parameters(
      {VocabularyMatrix(embedding_name(), vocabulary(), hidden_size(), kInitialDeviation, recorder)});
  return Norm("transformer.word_embeddings_layernorm",
              ToStream(Embedding(batch.ids, table), batch.token_index));
}

Tensor Bloom::Block(int index, Tensor x, const Batch& batch) const {
  const std::string name = absl::StrCat("transformer.h.", index);
  const int64_t d = hidden_size(), heads = config_.num_attention_heads();
  const int64_t local_heads = heads / x.recorder().mesh()[Axis::kTp];

  const std::string attention = name + ".self_attention";
  const Tensor qkv =
      QueryKeyValue(attention + ".query_key_value", FromStream(Norm(name + ".input_layernorm", x)));
  const Tensor mixed = Attend(qkv, {local_heads, local_heads, d / heads}, batch);
  const Tensor attended = ToStream(RowParallel(attention + ".dense", mixed, d), x);
  const Tensor h = x + Dropout(attended, batch.token_index, config_.dropout(), seed_, attention + ".dropout");

  const int64_t f = config_.intermediate_size();
  const Tensor wide = Gelu(ColumnParallel(name + ".mlp.dense_h_to_4h",
                                          FromStream(Norm(name + ".post_attention_layernorm", h)), f));
  const Tensor feed = ToStream(RowParallel(name + ".mlp.dense_4h_to_h", wide, f), x);
  return h + Dropout(feed, batch.token_index, config_.dropout(), seed_, name + ".mlp.dropout");
}

Tensor Bloom::FinalNorm(Tensor x) const {
  return Norm("transformer.ln_f", x);
}

Tensor Bloom::HeadWeight(Recorder& recorder) const {
  const std::string name = ties_embedding() ? embedding_name() : "lm_head.weight";
  return recorder.Parameters(
      {VocabularyMatrix(name, vocabulary(), hidden_size(), kInitialDeviation, recorder)});
}

}  // namespace trireme
