#include "runtime/ops/rope.h"

#include <glog/logging.h>

namespace trireme {
namespace {

Tensor RecordRope(Tensor qkv, Tensor positions, Attributes attributes) {
  const Layout layout = Recorder::Infer("th,~t->th", Linearity::kProduct, {qkv, positions});
  return qkv.recorder().Record1(OpKind::kRope, {qkv, positions}, {"rope", qkv.dtype(), qkv.shape(), layout},
                                std::move(attributes));
}

Attributes RopeAttributes(int64_t query_heads, int64_t key_heads, int64_t head_size, double theta,
                          int64_t inverse) {
  return {{"query_heads", query_heads},
          {"key_heads", key_heads},
          {"head_size", head_size},
          {"theta", theta},
          {"inverse", inverse}};
}

}  // namespace

Tensor Rope(Tensor qkv, Tensor positions, HeadShape heads, double theta) {
  CHECK_EQ(qkv.shape()[1], heads.columns()) << "Rope";
  CHECK_EQ(heads.head_size % 2, 0) << "Rope turns pairs: an even head size";
  return RecordRope(qkv, positions,
                    RopeAttributes(heads.query_heads, heads.key_heads, heads.head_size, theta, 0));
}

void RopeGradient(GradientContext& g) {
  const Attributes& a = g.op().attributes;
  g.Add(0, RecordRope(g.gradient(0), g.input(1),
                      RopeAttributes(a.Int("query_heads"), a.Int("key_heads"), a.Int("head_size"),
                                     a.Float("theta"), 1 - a.Int("inverse"))));
}

}  // namespace trireme
