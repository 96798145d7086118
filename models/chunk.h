// From a model to the Program of one pipeline chunk: the recording, and all passes over it, in their order.
#ifndef TRIREME_MODELS_CHUNK_H_
#define TRIREME_MODELS_CHUNK_H_

#include <memory>
#include <optional>

#include "models/layers.h"
#include "models/model.h"
#include "runtime/ops/gradient_grid.h"
#include "runtime/passes/recompute.h"
#include "runtime/program.h"

namespace trireme {

struct ChunkSpec {
  enum class Purpose {
    kTrain,     // forward and backward
    kEvaluate,  // forward alone, with the loss
    kGenerate,  // forward alone, with logits of the tokens that input "rows" names
  };
  Purpose purpose = Purpose::kTrain;
  // The chunk's blocks [first_block, end_block); the first chunk also embeds, the last also holds the head.
  int first_block = 0;
  int end_block = 0;
  bool has_embedding = true;
  bool has_head = true;
  int64_t sequences = 1;  // of a replica's micro-batch
  int64_t sequence_length = 1;
  AxisSizes mesh;
  Precision precision;
  Recompute recompute = Recompute::kNone;
  bool splits_backward = false;    // for a schedule that lets the weights' part wait
  bool sequence_parallel = false;  // the stream's tokens are sharded over tp; tp divides them

  ContextForm context_form = ContextForm::kRing;  // where cp is above 1

  double z_loss = 0;  // kTrain: of the head, ops/cross_entropy.h

  std::optional<GradientGrid> grid = {};  // kTrain: gradients are added up on it

  Layout stream() const { return StreamLayout(sequence_parallel); }
  // Those of a replica's micro-batch, and this rank's.
  int64_t replica_tokens() const { return sequences * sequence_length; }
  int64_t tokens() const { return replica_tokens() / mesh[Axis::kCp]; }
  bool is_ring() const { return mesh[Axis::kCp] > 1 && context_form == ContextForm::kRing; }
  TokenOrder order() const { return {replica_tokens(), mesh[Axis::kCp], is_ring()}; }
  // Those of the stream that this rank holds.
  int64_t stream_tokens() const { return sequence_parallel ? tokens() / mesh[Axis::kTp] : tokens(); }
};

// Inputs are named "ids", "targets", "positions", "lo" (in a ring: "spans"), "token_index", (with sequence
// parallelism) "stream_positions", (kGenerate) "rows", and where the model has slopes "slopes" (in a ring
// also "places").
std::unique_ptr<Program> RecordChunk(const Model& model, const ChunkSpec& spec);

}  // namespace trireme

#endif  // TRIREME_MODELS_CHUNK_H_
