#include "runtime/ops/attention.h"

#include <glog/logging.h>

#include <vector>

namespace trireme {

Tensor Attention(Tensor qkv, Tensor lo, HeadShape heads, double mean_keys, Tensor slopes) {
  CHECK_EQ(qkv.shape()[1], heads.columns()) << "Attention";
  CHECK_EQ(heads.query_heads % heads.key_heads, 0)
      << "Attention: each key head serves a group of query heads";
  const int64_t t = qkv.shape()[0];
  const double width = static_cast<double>(heads.query_heads * heads.head_size);
  // Heads lie in the columns, so a shard of the columns is a shard of the heads.
  const Layout layout = slopes.present()
                            ? Recorder::Infer("th,~t,~h->th", Linearity::kNonlinear, {qkv, lo, slopes})
                            : Recorder::Infer("th,~t->th", Linearity::kNonlinear, {qkv, lo});
  std::vector<Tensor> inputs = {qkv, lo};
  if (slopes.present()) {
    CHECK_EQ(slopes.shape()[0], heads.query_heads) << "Attention: slopes";
    inputs.push_back(slopes);
  }
  return qkv.recorder().Record(
      OpKind::kAttention, inputs,
      {{"attention", qkv.dtype(), {t, heads.query_heads * heads.head_size}, layout},
       {"attention.lse", qkv.recorder().precision().wide(), {t, heads.query_heads}, layout}},
      {{"query_heads", heads.query_heads}, {"key_heads", heads.key_heads}, {"head_size", heads.head_size}},
      4.0 * static_cast<double>(t) * mean_keys * width)[0];
}

void AttentionGradient(GradientContext& g) {
  const Tensor dout = g.gradient(0), qkv = g.input(0), lo = g.input(1), out = g.output(0), lse = g.output(1);
  const Layout layout =
      Recorder::Infer("th,th,th,th,~t->th", Linearity::kNonlinear, {dout, qkv, out, lse, lo});
  std::vector<Tensor> inputs = {dout, qkv, out, lse, lo};
  if (g.op().inputs.size() > 2) inputs.push_back(g.input(2));
  g.Add(0, g.recorder().Record1(OpKind::kAttentionGrad, inputs,
                                {"d.attention", qkv.dtype(), qkv.shape(), layout}, g.op().attributes,
                                2.0 * g.op().flops));
}

}  // namespace trireme
