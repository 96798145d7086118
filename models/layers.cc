#include "models/layers.h"

#include "runtime/ops/attention.h"
#include "runtime/ops/head_exchange.h"
#include "runtime/ops/redistribute.h"
#include "runtime/ops/ring_attention.h"

namespace trireme {

Tensor FromStream(Tensor x) {
  return Redistribute(x, Axis::kTp, kReplicate);
}
Tensor ToStream(Tensor partial, Tensor stream) {
  return Redistribute(partial, Axis::kTp, stream.layout()[Axis::kTp]);
}

Tensor Attend(Tensor qkv, HeadShape heads, const Batch& batch) {
  if (batch.spans.present()) {
    return RingAttention(qkv, batch.spans, heads, batch.mean_keys, batch.slopes, batch.places);
  }
  const int64_t cp = qkv.recorder().mesh()[Axis::kCp];
  const HeadShape here = {heads.query_heads / cp, heads.key_heads / cp, heads.head_size};
  const Tensor of_all_tokens = TokensToHeads(qkv, Axis::kCp, heads);
  const Tensor out = Attention(of_all_tokens, batch.lo, here, batch.mean_keys, batch.slopes);
  return HeadsToTokens(out, Axis::kCp, {heads.query_heads, 0, heads.head_size});
}

Placement OnStream(Tensor stream) {
  return stream.layout()[Axis::kTp].is_shard() ? kReplicate : kInvariant;
}

Parameter Vector(std::string name, int64_t size, double value, Placement tp) {
  return {
      .name = std::move(name), .global_shape = {size}, .layout = {kReplicate, tp}, .init = {.mean = value}};
}

Parameter Matrix(std::string name, int64_t rows, int64_t cols, int sharded_dim, double deviation) {
  return {.name = std::move(name),
          .global_shape = {rows, cols},
          .layout = {kReplicate, Shard(sharded_dim)},
          .init = {.deviation = deviation}};
}

Parameter VocabularyMatrix(std::string name, int64_t vocabulary, int64_t hidden, double deviation,
                           const Recorder& recorder) {
  Parameter parameter = Matrix(std::move(name), vocabulary, hidden, 0, deviation);
  // Whole SIMD vectors of logits on every rank.
  const int64_t multiple = int64_t{16} * recorder.mesh()[Axis::kTp];
  parameter.padded_shape = {(vocabulary + multiple - 1) / multiple * multiple, hidden};
  return parameter;
}

Tensor RowBias(Tensor bias) {
  return Redistribute(bias, Axis::kTp, kPartial);
}

}  // namespace trireme
