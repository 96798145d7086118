// What an architecture is: mathematics over tensors, with Hugging Face's parameter names. It knows no ranks,
// no devices and no gradients.
#ifndef TRIREME_MODELS_MODEL_H_
#define TRIREME_MODELS_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "configs/config.pb.h"
#include "runtime/recorder.h"
#include "runtime/token_order.h"

namespace trireme {

// How context parallelism brings queries and keys together.
//   kRing       keys and values pass round the ranks: ops/ring_attention.h
//   kAllToAll   ranks exchange tokens for heads around attention: ops/head_exchange.h
enum class ContextForm { kRing, kAllToAll };

// The inputs of a micro-batch of sequences * sequence_length tokens, sequence by sequence, of which the ranks
// of cp have T each, in the order of token_order.h. All are i32 [T] but token_index, i64, and lo, which each
// rank has of the tokens whose queries it serves, spans, slopes (f32, of heads) and places. The last two lie
// as the residual stream does: with sequence parallelism each tp rank has its share of them, where the others
// are whole.
struct Batch {
  Tensor ids;
  Tensor targets;    // absent in programs for generation
  Tensor positions;  // in the sequence
  Tensor lo;         // first token that each token may attend to; absent in a ring
  Tensor spans;      // in a ring: what each token may attend to in each hop
  Tensor slopes;     // f32, of the heads that this rank attends with; absent unless the model has some
  Tensor places;     // in a ring, beside slopes: where in the stream each hop's tokens stand
  int64_t sequences = 1;
  int64_t sequence_length = 1;
  TokenOrder order;
  double mean_keys = 0;  // mean number of tokens that a token attends to
  Tensor stream_positions;
  Tensor token_index;   // global: sample * sequence_length + position
  bool trains = false;  // whether losses count that steer training and are not reported
};

class Model {
 public:
  virtual ~Model() = default;

  virtual int num_blocks() const = 0;
  virtual int64_t hidden_size() const = 0;
  virtual int64_t vocabulary() const = 0;

  // Token embedding -> residual stream [T, D].
  virtual Tensor Embed(Recorder& recorder, const Batch& batch) const = 0;
  // Block `index` (0 <= index < num_blocks()) of the residual stream.
  virtual Tensor Block(int index, Tensor x, const Batch& batch) const = 0;
  // The last norm.
  virtual Tensor FinalNorm(Tensor x) const = 0;
  // The output matrix [V, D], the embedding's own where tied.
  virtual Tensor HeadWeight(Recorder& recorder) const = 0;
  virtual bool ties_embedding() const = 0;
  // The name of the token embedding's parameter.
  virtual std::string embedding_name() const = 0;
  // Heads whose scores fall with the distance, by the slopes of runtime/alibi.h: all, or 0.
  virtual int64_t alibi_heads() const { return 0; }
};

// The architecture that `config` names. `seed` keys dropout. The configuration was validated.
std::unique_ptr<Model> CreateModel(const ModelConfig& config, uint64_t seed);

}  // namespace trireme

#endif  // TRIREME_MODELS_MODEL_H_
