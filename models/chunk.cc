#include "models/chunk.h"

#include "absl/strings/str_cat.h"
#include "runtime/autograd.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/gather_rows.h"
#include "runtime/ops/linear.h"
#include "runtime/passes/expand.h"
#include "runtime/passes/expand_ring.h"
#include "runtime/passes/fuse.h"
#include "runtime/passes/fuse_products.h"
#include "runtime/passes/grid_gradients.h"
#include "runtime/passes/split_backward.h"

namespace trireme {
namespace {

// What each token sees. In the all-to-all form a rank of cp serves the queries of all tokens, with a part of
// the heads.
void RecordMasks(Recorder& recorder, const ChunkSpec& spec, Batch& batch) {
  const Layout layout = StreamLayout(false);
  if (spec.is_ring()) {
    const Layout each_its_own = layout.With(Axis::kCp, {Placement::Kind::kVarying, 0});
    batch.spans = recorder.Input("spans", DType::kI32, {2 * spec.replica_tokens()}, each_its_own);
    return;
  }
  const Placement whole = spec.mesh[Axis::kCp] > 1 ? kInvariant : Shard(0);
  batch.lo = recorder.Input("lo", DType::kI32, {spec.replica_tokens()}, layout.With(Axis::kCp, whole));
}

// Slopes lie as the heads do: over tp, and in the all-to-all form over cp within that.
void RecordSlopes(Recorder& recorder, const ChunkSpec& spec, int64_t heads, Batch& batch) {
  Layout layout = Layout().With(Axis::kTp, Shard(0));
  int64_t here = heads / spec.mesh[Axis::kTp];
  if (spec.is_ring()) {
    const Layout each_its_own = StreamLayout(false).With(Axis::kCp, {Placement::Kind::kVarying, 0});
    batch.places = recorder.Input("places", DType::kI32, {spec.replica_tokens()}, each_its_own);
  } else if (spec.mesh[Axis::kCp] > 1) {
    layout[Axis::kCp] = Shard(0);
    here /= spec.mesh[Axis::kCp];
  }
  batch.slopes = recorder.Input("slopes", DType::kF32, {here}, layout);
}

Batch RecordInputs(Recorder& recorder, const Model& model, const ChunkSpec& spec) {
  const Shape tokens = {spec.tokens()}, stream_tokens = {spec.stream_tokens()};
  const Layout layout = StreamLayout(false);
  Batch batch;
  if (spec.has_embedding) batch.ids = recorder.Input("ids", DType::kI32, tokens, layout);
  if (spec.has_head && spec.purpose != ChunkSpec::Purpose::kGenerate) {
    batch.targets = recorder.Input("targets", DType::kI32, tokens, layout);
  }
  batch.positions = recorder.Input("positions", DType::kI32, tokens, layout);
  RecordMasks(recorder, spec, batch);
  if (model.alibi_heads() > 0) RecordSlopes(recorder, spec, model.alibi_heads(), batch);
  batch.stream_positions = batch.positions;
  if (spec.sequence_parallel) {
    batch.stream_positions = recorder.Input("stream_positions", DType::kI32, stream_tokens, spec.stream());
  }
  batch.token_index = recorder.Input("token_index", DType::kI64, stream_tokens, spec.stream());
  batch.sequences = spec.sequences;
  batch.sequence_length = spec.sequence_length;
  batch.order = spec.order();
  batch.trains = spec.purpose == ChunkSpec::Purpose::kTrain;
  batch.mean_keys = (static_cast<double>(spec.sequence_length) + 1) / 2;
  return batch;
}

void RecordHead(Recorder& recorder, const Model& model, const ChunkSpec& spec, const Batch& batch, Tensor x) {
  Program& program = recorder.program();
  if (spec.purpose == ChunkSpec::Purpose::kGenerate) {
    // One rank: the whole vocabulary and every token are here.
    const Tensor rows = recorder.Input("rows", DType::kI32, {spec.sequences}, Layout(kReplicate, kReplicate));
    const Tensor all = recorder.Alias(model.FinalNorm(x), "final", x.shape(), Layout(kReplicate, kReplicate));
    program.logits = Linear(GatherRows(all, rows), model.HeadWeight(recorder)).id();
    return;
  }
  // What is evaluated is the cross-entropy alone.
  const double z_loss = spec.purpose == ChunkSpec::Purpose::kTrain ? spec.z_loss : 0;
  const Tensor loss = LinearCrossEntropy(FromStream(model.FinalNorm(x)), model.HeadWeight(recorder),
                                         batch.targets, model.vocabulary(), z_loss);
  recorder.Root(loss);
  if (spec.purpose == ChunkSpec::Purpose::kEvaluate) program.loss_sum = LossSum(loss).id();
}

}  // namespace

std::unique_ptr<Program> RecordChunk(const Model& model, const ChunkSpec& spec) {
  auto program = std::make_unique<Program>();
  Recorder recorder(program.get(), spec.mesh, spec.precision);
  const Batch batch = RecordInputs(recorder, model, spec);
  Tensor x;
  if (spec.has_embedding) {
    recorder.BeginSegment("embedding", Region::kForward);
    x = model.Embed(recorder, batch);
  } else {
    x = recorder.Received("stage_input", spec.precision.compute, {spec.stream_tokens(), model.hidden_size()},
                          spec.stream(), spec.purpose == ChunkSpec::Purpose::kTrain);
    program->stage_input = x.id();
  }
  for (int block = spec.first_block; block < spec.end_block; ++block) {
    recorder.BeginSegment(absl::StrCat("block ", block), Region::kForward);
    x = model.Block(block, x, batch);
  }
  if (spec.has_head) {
    recorder.BeginSegment("head", Region::kForward);
    RecordHead(recorder, model, spec, batch, x);
  } else {
    program->stage_output = x.id();
  }
  if (spec.purpose == ChunkSpec::Purpose::kTrain) {
    Differentiate(recorder);
    RecomputePass(*program, spec.recompute);
  }
  FusePass(*program);
  FuseProductsPass(*program);
  if (spec.splits_backward && spec.purpose == ChunkSpec::Purpose::kTrain) SplitBackward(*program);
  ExpandRingAttention(recorder);
  ExpandCrossEntropy(recorder);
  if (spec.purpose == ChunkSpec::Purpose::kTrain && spec.grid.has_value()) {
    GridGradients(recorder, *spec.grid);
  }
  return program;
}

}  // namespace trireme
