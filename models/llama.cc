#include "models/llama.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "models/layers.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/dropout.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/ops/rope.h"
#include "runtime/ops/shared_heads.h"

namespace trireme {
// What writes to the residual stream starts smaller, so that the stream's variance does not grow with depth.
double Llama::ResidualDeviation() const {
  return kInitialDeviation / std::sqrt(2.0 * config_.num_hidden_layers());
}

Tensor Llama::Norm(const std::string& name, Tensor x) const {
  const Tensor gain = x.recorder().Parameters({Vector(name + ".weight", hidden_size(), 1, OnStream(x))});
  return RmsNorm(x, gain, config_.rms_norm_eps());
}

Tensor Llama::Embed(Recorder& recorder, const Batch& batch) const {
  const Tensor table = recorder.Parameters(
      {VocabularyMatrix(embedding_name(), vocabulary(), hidden_size(), kInitialDeviation, recorder)});
  const Tensor x = ToStream(Embedding(batch.ids, table), batch.token_index);
  return Dropout(x, batch.token_index, config_.dropout(), seed_, "embedding.dropout");
}

Tensor Llama::Block(int index, Tensor x, const Batch& batch) const {
  const std::string name = absl::StrCat("model.layers.", index);
  Tensor attention =
      ToStream(Attend(name + ".self_attn", FromStream(Norm(name + ".input_layernorm", x)), batch), x);
  attention = Dropout(attention, batch.token_index, config_.dropout(), seed_, name + ".self_attn.dropout");
  const Tensor h = x + attention;
  Tensor feed = FeedForward(name, Norm(name + ".post_attention_layernorm", h), batch);
  feed = Dropout(feed, batch.token_index, config_.dropout(), seed_, name + ".mlp.dropout");
  return h + feed;
}

Tensor Llama::QueryKeyValue(const std::string& name, Tensor x, int64_t head_size) const {
  Recorder& recorder = x.recorder();
  const int64_t d = hidden_size(), h = config_.num_attention_heads(), k = config_.num_key_value_heads();
  Parameter w_q = Matrix(name + ".q_proj.weight", h * head_size, d, 0, kInitialDeviation);
  Parameter w_k = Matrix(name + ".k_proj.weight", k * head_size, d, 0, kInitialDeviation);
  Parameter w_v = Matrix(name + ".v_proj.weight", k * head_size, d, 0, kInitialDeviation);
  if (k % recorder.mesh()[Axis::kTp] == 0) return Linear(x, recorder.Parameters({w_q, w_k, w_v}));
  // Fewer key heads than ranks: several ranks' queries read the same one.
  w_k.layout[Axis::kTp] = w_v.layout[Axis::kTp] = kReplicate;
  const Tensor query = Linear(x, recorder.Parameters({w_q}));
  return ConcatColumns(query, Linear(x, SharedRows(recorder.Parameters({w_k, w_v}), 2, k)));
}

Tensor Llama::Attend(const std::string& name, Tensor x, const Batch& batch) const {
  Recorder& recorder = x.recorder();
  const int64_t d = hidden_size(), h = config_.num_attention_heads(), k = config_.num_key_value_heads();
  const int64_t a = d / h, tp = recorder.mesh()[Axis::kTp];
  const HeadShape heads = {h / tp, std::max<int64_t>(1, k / tp), a};
  const Tensor qkv = Rope(QueryKeyValue(name, x, a), batch.positions, heads, config_.rope_theta());
  const Tensor w_out =
      recorder.Parameters({Matrix(name + ".o_proj.weight", d, h * a, 1, ResidualDeviation())});
  return Linear(trireme::Attend(qkv, heads, batch), w_out);
}

Tensor Llama::FeedForward(const std::string& block, Tensor x, const Batch&) const {
  return ToStream(GatedUnit(block + ".mlp", FromStream(x), config_.intermediate_size()), x);
}

Tensor Llama::GatedUnit(const std::string& name, Tensor in, int64_t width) const {
  Recorder& recorder = in.recorder();
  const int64_t d = hidden_size();
  const Tensor w_gate_up =
      recorder.Parameters({Matrix(name + ".gate_proj.weight", width, d, 0, kInitialDeviation),
                           Matrix(name + ".up_proj.weight", width, d, 0, kInitialDeviation)});
  const Tensor w_down =
      recorder.Parameters({Matrix(name + ".down_proj.weight", d, width, 1, ResidualDeviation())});
  return Linear(SwiGlu(Linear(in, w_gate_up)), w_down);
}

Tensor Llama::FinalNorm(Tensor x) const {
  return Norm("model.norm", x);
}

Tensor Llama::HeadWeight(Recorder& recorder) const {
  const std::string name = ties_embedding() ? embedding_name() : "lm_head.weight";
  return recorder.Parameters(
      {VocabularyMatrix(name, vocabulary(), hidden_size(), kInitialDeviation, recorder)});
}

}  // namespace trireme
