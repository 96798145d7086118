#include "parallel/chunk_test_util.h"

#include "runtime/autograd.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/redistribute.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/passes/expand.h"

namespace trireme {
namespace {

const Layout kStream = {Shard(0), kInvariant};

AxisSizes MeshOf(const TestChunkOptions& options) {
  AxisSizes mesh;
  mesh[Axis::kTp] = options.tp;
  mesh[Axis::kDp] = options.dp;
  return mesh;
}

}  // namespace

TestChunk::TestChunk(const TestChunkOptions& options)
    : mesh_(MeshOf(options)), recorder_(&program_, mesh_, {.compute = options.compute}) {
  Tensor x;
  if (options.has_input) {
    x = recorder_.Received("stage_input", options.compute, {kTokens, kWidth}, kStream, true);
    program_.stage_input = x.id();
  } else {
    recorder_.BeginSegment("embedding", Region::kForward);
    const Tensor ids = recorder_.Input("ids", DType::kI32, {kTokens}, kStream);
    x = Redistribute(Embedding(ids, Vocabulary("embedding.weight")), Axis::kTp, kInvariant);
  }
  for (const char* name : {"block 0", "block 1"}) x = Block(name, x);
  if (options.has_output) {
    program_.stage_output = x.id();
  } else {
    Head(x, options);
  }
  Differentiate(recorder_);
  ExpandCrossEntropy(recorder_);
}

Tensor TestChunk::Weight(const std::string& name, int64_t rows, int64_t cols, int sharded_dim) {
  return recorder_.Parameters({{.name = name,
                                .global_shape = {rows, cols},
                                .layout = {kReplicate, Shard(sharded_dim)},
                                .init = {.deviation = 0.5}}});
}

Tensor TestChunk::Vector(const std::string& name, int64_t size, Placement tp) {
  return recorder_.Parameters({{.name = name,
                                .global_shape = {size},
                                .layout = {kReplicate, tp},
                                .init = {.mean = 1, .deviation = 0.1}}});
}

Tensor TestChunk::Vocabulary(const std::string& name) {
  return recorder_.Parameters({{.name = name,
                                .global_shape = {kVocabulary, kWidth},
                                .layout = {kReplicate, Shard(0)},
                                .init = {.deviation = 0.5},
                                .padded_shape = {kPadded, kWidth}}});
}

Tensor TestChunk::Block(const std::string& name, Tensor x) {
  recorder_.BeginSegment(name, Region::kForward);
  const Layout columns = {kReplicate, Shard(0)};
  const Tensor norm = RmsNorm(x, Vector(name + " gain", kWidth, kInvariant), 1e-5);
  const Tensor gate_up = recorder_.Parameters({{.name = name + " gate",
                                                .global_shape = {kWide, kWidth},
                                                .layout = columns,
                                                .init = {.deviation = 0.5}},
                                               {.name = name + " up",
                                                .global_shape = {kWide, kWidth},
                                                .layout = columns,
                                                .init = {.deviation = 0.5}}});
  const Tensor bias = Vector(name + " bias", 2 * kWide, Shard(0));
  const Tensor wide = SwiGlu(Linear(Redistribute(norm, Axis::kTp, kReplicate), gate_up, bias));
  const Tensor back = Linear(wide, Weight(name + " down", kWidth, kWide, 1));
  return x + Redistribute(back, Axis::kTp, kInvariant);
}

void TestChunk::Head(Tensor x, const TestChunkOptions& options) {
  recorder_.BeginSegment("head", Region::kForward);
  const Tensor targets = recorder_.Input("targets", DType::kI32, {kTokens}, kStream);
  const Tensor weight = Vocabulary(options.ties_head ? "embedding.weight" : "head.weight");
  recorder_.Root(LinearCrossEntropy(Redistribute(x, Axis::kTp, kReplicate), weight, targets, kVocabulary));
}

namespace {

UpdateOptions UpdateOf(const TestChunkOptions& chunk, const AxisSizes& mesh, int zero_stage,
                       int tp_coordinate, int dp_coordinate) {
  AxisSizes coordinate = {{0, 0, 0, 0}};
  coordinate[Axis::kTp] = tp_coordinate;
  coordinate[Axis::kDp] = dp_coordinate;
  return {.zero_stage = zero_stage,
          .mesh = mesh,
          .coordinate = coordinate,
          .precision = {.compute = chunk.compute},
          .rounding_seed = chunk.rounds ? std::optional<uint64_t>(5) : std::nullopt};
}

AxisSizes WithDp(AxisSizes mesh, int dp) {
  mesh[Axis::kDp] = dp;
  return mesh;
}

}  // namespace

TestStore::TestStore(const TestChunkOptions& chunk, int zero_stage, int dp, int tp_coordinate,
                     int dp_coordinate, const std::string& tied_parameter)
    : chunk_(chunk),
      device_(1),
      buckets_(MakeBuckets({&chunk_.program()}, WithDp(chunk_.mesh(), dp), tied_parameter)) {
  const UpdateOptions options =
      UpdateOf(chunk, WithDp(chunk_.mesh(), dp), zero_stage, tp_coordinate, dp_coordinate);
  const std::vector<const Program*> chunks = {&chunk_.program()};
  update_ = RecordUpdate(chunks, buckets_, options);
  store_ =
      std::make_unique<ParameterStore>(chunks, buckets_, update_, options, PlanPassingMemory(update_, {}));
  store_->Allocate(device_);
}

}  // namespace trireme
