#include "runtime/ops/redistribute.h"

#include <glog/logging.h>

namespace trireme {
namespace {

// The op that makes `to` of `from`. `in_backward` allows the one move that is a gradient only (Replicate ->
// Invariant, of Invariant -> Partial).
OpKind KindOfMove(Placement from, Placement to, bool in_backward) {
  if (from == kInvariant && to == kReplicate) return OpKind::kRelabel;
  if (in_backward && from == kReplicate && to == kInvariant) return OpKind::kRelabel;
  if (from == kPartial && to == kInvariant) return OpKind::kAllReduce;
  if (from == Shard(0) && to == kReplicate) return OpKind::kAllGather;
  if (from == kPartial && to == Shard(0)) return OpKind::kReduceScatter;
  if ((from == kInvariant || from == kReplicate) && to == kPartial) return OpKind::kKeepOnFirst;
  LOG(FATAL) << "there is no move from " << from.ToString() << " to " << to.ToString();
}

Tensor Move(Tensor x, Axis axis, Placement to, bool in_backward) {
  const Placement from = x.layout()[axis];
  if (from == to) return x;
  Recorder& recorder = x.recorder();
  const OpKind kind = KindOfMove(from, to, in_backward);
  const int size = recorder.mesh()[axis];
  ResultSpec result = {x.value().name, x.dtype(), x.shape(), x.layout().With(axis, to)};
  const Attributes attributes = {{"axis", static_cast<int64_t>(axis)}};
  if (kind == OpKind::kRelabel || size == 1) {
    const Tensor y = recorder.Record1(OpKind::kRelabel, {x}, std::move(result), attributes);
    recorder.program().values[y.id()].base = x.id();
    return y;
  }
  if (kind == OpKind::kAllGather) result.shape[0] *= size;
  if (kind == OpKind::kReduceScatter) {
    CHECK_EQ(result.shape[0] % size, 0)
        << "ReduceScatter of " << x.shape().ToString() << " over " << Name(axis);
    result.shape[0] /= size;
  }
  return recorder.Record1(kind, {x}, std::move(result), attributes);
}

}  // namespace

Tensor Redistribute(Tensor x, Axis axis, Placement placement) {
  return Move(x, axis, placement, false);
}

void RedistributeGradient(GradientContext& g) {
  const Axis axis = g.op().attributes.AxisOf("axis");
  g.Add(0, Move(g.gradient(0), axis, Dual(g.input(0).layout())[axis], true));
}

}  // namespace trireme
