#include "runtime/ops/ring_attention.h"

#include <glog/logging.h>

#include <vector>

namespace trireme {

Tensor RingAttention(Tensor qkv, Tensor spans, HeadShape heads, double mean_keys, Tensor slopes,
                     Tensor places) {
  CHECK_EQ(qkv.shape()[1], heads.columns()) << "RingAttention";
  CHECK(qkv.layout()[Axis::kCp] == Shard(0)) << "RingAttention: " << qkv.layout().ToString();
  const int64_t t = qkv.shape()[0], width = heads.query_heads * heads.head_size;
  CHECK_EQ(spans.shape()[0], t * 2 * qkv.recorder().mesh()[Axis::kCp]) << "RingAttention: spans";
  std::vector<Tensor> inputs = {qkv, spans};
  Layout layout = Recorder::Infer("th->th", Linearity::kNonlinear, {qkv});
  if (slopes.present()) {
    CHECK_EQ(slopes.shape()[0], heads.query_heads) << "RingAttention: slopes";
    CHECK_EQ(places.shape()[0], t * qkv.recorder().mesh()[Axis::kCp]) << "RingAttention: places";
    layout = Recorder::Infer("th,~h->th", Linearity::kNonlinear, {qkv, slopes});
    inputs.insert(inputs.end(), {slopes, places});
  }
  return qkv.recorder().Record(
      OpKind::kRingAttention, inputs,
      {{"attention", qkv.dtype(), {t, width}, layout},
       {"attention.lse", qkv.recorder().precision().wide(), {t, heads.query_heads}, layout}},
      {{"query_heads", heads.query_heads}, {"key_heads", heads.key_heads}, {"head_size", heads.head_size}},
      4.0 * static_cast<double>(t) * mean_keys * static_cast<double>(width))[0];
}

void RingAttentionGradient(GradientContext& g) {
  const Tensor qkv = g.input(0);
  const Layout layout = Recorder::Infer("th,th,th,th->th", Linearity::kNonlinear,
                                        {g.gradient(0), qkv, g.output(0), g.output(1)});
  std::vector<Tensor> inputs = {g.gradient(0), qkv, g.output(0), g.output(1)};
  for (int i = 1; i < static_cast<int>(g.op().inputs.size()); ++i) inputs.push_back(g.input(i));
  g.Add(0, g.recorder().Record1(OpKind::kRingAttentionGrad, inputs,
                                {"d.attention", qkv.dtype(), qkv.shape(), layout}, g.op().attributes,
                                2.0 * g.op().flops));
}

Tensor TakeColumns(Tensor x, int64_t first, int64_t columns) {
  CHECK_LE(first + columns, x.shape()[1]) << "TakeColumns";
  return x.recorder().Record1(OpKind::kTakeColumns, {x},
                              {x.value().name, x.dtype(), {x.shape()[0], columns}, x.layout()},
                              {{"first", first}});
}

Tensor JoinColumns(Tensor a, Tensor b, DType dtype) {
  CHECK_EQ(a.shape()[0], b.shape()[0]) << "JoinColumns";
  return a.recorder().Record1(
      OpKind::kJoinColumns, {a, b},
      {a.value().name, dtype, {a.shape()[0], a.shape()[1] + b.shape()[1]}, a.layout()});
}

ShiftUnderWay StartShift(Tensor x, Axis axis) {
  if (x.recorder().mesh()[axis] == 1) return {x, x};
  return {x, x.recorder().Record1(OpKind::kShift, {x}, {x.value().name, x.dtype(), x.shape(), x.layout()},
                                  {{"axis", static_cast<int64_t>(axis)}})};
}

Tensor Await(const ShiftUnderWay& shift, Axis axis) {
  const Tensor result = shift.result;
  if (result.id() == shift.sent.id()) return result;
  const Tensor there =
      result.recorder().Record1(OpKind::kAwaitShift, {result, shift.sent},
                                {result.value().name, result.dtype(), result.shape(), result.layout()},
                                {{"axis", static_cast<int64_t>(axis)}});
  result.recorder().program().values[there.id()].base = result.id();
  return there;
}

}  // namespace trireme
