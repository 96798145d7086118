#include "runtime/passes/expand_ring.h"

#include <optional>
#include <vector>

#include "runtime/ops/elementwise.h"
#include "runtime/ops/ring_attention.h"
#include "runtime/passes/expand_ops.h"

namespace trireme {
namespace {

// Where the composites have slopes, if they have.
constexpr size_t kForwardAlibi = 2, kBackwardAlibi = 5;

class RingExpansion {
 public:
  RingExpansion(Recorder& recorder, const Op& op)
      : recorder_(recorder),
        op_(op),
        hops_(recorder.mesh()[Axis::kCp]),
        query_width_(op.attributes.Int("query_heads") * op.attributes.Int("head_size")),
        key_width_(op.attributes.Int("key_heads") * op.attributes.Int("head_size")),
        flops_(op.flops / static_cast<double>(hops_)),
        wide_(recorder.precision().wide()) {}

  void Forward() {
    const Tensor qkv = Operand(op_.inputs[0]), spans = Operand(op_.inputs[1]);
    const Tensor lse = Operand(op_.outputs[1]);
    Tensor kv = TakeColumns(qkv, query_width_, 2 * key_width_);
    std::vector<Tensor> sum;
    for (int hop = 0; hop < hops_; ++hop) {
      const std::optional<ShiftUnderWay> next = SendOn(kv, hop);
      const std::vector<Tensor> block = recorder_.Record(
          OpKind::kBlockAttention,
          WithAlibi({qkv, kv, Span(spans, 2 * hop), Span(spans, 2 * hop + 1)}, kForwardAlibi, hop), Wide(lse),
          op_.attributes, flops_);
      sum = hop == 0 ? block
                     : recorder_.Record(OpKind::kMergeAttention, {sum[0], sum[1], block[0], block[1]},
                                        Wide(lse), op_.attributes);
      if (next.has_value()) kv = Await(*next, Axis::kCp);
    }
    LastOp().outputs[1] = op_.outputs[1];
    Deliver(sum[0]);
  }

  void Backward() {
    const Tensor dout = Operand(op_.inputs[0]), qkv = Operand(op_.inputs[1]), out = Operand(op_.inputs[2]);
    const Tensor lse = Operand(op_.inputs[3]), spans = Operand(op_.inputs[4]);
    Tensor kv = TakeColumns(qkv, query_width_, 2 * key_width_);
    Tensor dq;
    // The sum of the hops before, on its way to the rank that has its keys now.
    std::optional<ShiftUnderWay> dkv;
    for (int hop = 0; hop < hops_; ++hop) {
      const std::optional<ShiftUnderWay> next = SendOn(kv, hop);
      const std::vector<Tensor> block = recorder_.Record(
          OpKind::kBlockAttentionGrad,
          WithAlibi({dout, qkv, out, lse, kv, Span(spans, 2 * hop), Span(spans, 2 * hop + 1)}, kBackwardAlibi,
                    hop),
          {{"d.queries", wide_, out.shape(), out.layout()},
           {"d.keys_values", wide_, kv.shape(), kv.layout()}},
          op_.attributes, flops_);
      dq = hop == 0 ? block[0] : dq + block[0];
      dkv = StartShift(hop == 0 ? block[1] : block[1] + Await(*dkv, Axis::kCp), Axis::kCp);
      if (next.has_value()) kv = Await(*next, Axis::kCp);
    }
    JoinColumns(dq, Await(*dkv, Axis::kCp), qkv.dtype());
    LastOp().outputs[0] = op_.outputs[0];
  }

 private:
  Tensor Operand(ValueId id) { return {&recorder_, id}; }
  Op& LastOp() { return recorder_.program().segments.back().ops.back(); }

  // Keys and values leave for the next rank while this one uses them; after the last hop nobody needs them.
  std::optional<ShiftUnderWay> SendOn(Tensor kv, int hop) {
    if (hop + 1 == hops_) return std::nullopt;
    return StartShift(kv, Axis::kCp);
  }

  // The i-th of the spans' rows of T.
  Tensor Span(Tensor spans, int64_t i) {
    const int64_t tokens = spans.shape()[0] / (2 * hops_);
    return recorder_.Rows(spans, i * tokens, tokens);
  }

  // The operands of a hop's block, and, where the composite has slopes, as its inputs `first` and the next:
  // these, and the places of the queries and of the keys at hand.
  std::vector<Tensor> WithAlibi(std::vector<Tensor> operands, size_t first, int hop) {
    if (op_.inputs.size() <= first) return operands;
    const Tensor slopes = Operand(op_.inputs[first]), places = Operand(op_.inputs[first + 1]);
    const int64_t tokens = places.shape()[0] / hops_;
    operands.insert(operands.end(), {slopes, recorder_.Rows(places, 0, tokens),
                                     recorder_.Rows(places, hop * tokens, tokens)});
    return operands;
  }

  std::vector<ResultSpec> Wide(Tensor lse) const {
    return {{"attention", wide_, {lse.shape()[0], query_width_}, lse.layout()},
            {"attention.lse", wide_, lse.shape(), lse.layout()}};
  }

  // `out` is the composite's first result, in the compute dtype.
  void Deliver(Tensor out) {
    const DType compute = recorder_.precision().compute;
    if (compute != wide_) {
      recorder_.Record1(OpKind::kCast, {out}, {"attention", compute, out.shape(), out.layout()});
    }
    LastOp().outputs[0] = op_.outputs[0];
  }

  Recorder& recorder_;
  const Op op_;
  const int hops_;
  const int64_t query_width_, key_width_;
  const double flops_;  // of a hop
  const DType wide_;
};

}  // namespace

void ExpandRingAttention(Recorder& recorder) {
  ExpandOps(
      recorder,
      [](const Op& op) { return op.kind == OpKind::kRingAttention || op.kind == OpKind::kRingAttentionGrad; },
      [&](const Op& op) {
        RingExpansion expansion(recorder, op);
        op.kind == OpKind::kRingAttention ? expansion.Forward() : expansion.Backward();
      });
}

}  // namespace trireme
