#include "runtime/ops/head_exchange.h"

#include <glog/logging.h>

namespace trireme {
namespace {

constexpr Placement kVaryingBlocks = {Placement::Kind::kVarying, 0};

// The shape of n blocks of a [rows, cols].
Shape BlocksOf(const Shape& whole, int64_t n) {
  return {whole[0] * n, whole[1] / n};
}

Tensor Exchange(Tensor blocks, Axis axis, Layout layout) {
  return blocks.recorder().Record1(OpKind::kAllToAll, {blocks},
                                   {blocks.value().name, blocks.dtype(), blocks.shape(), layout},
                                   {{"axis", static_cast<int64_t>(axis)}});
}

Attributes SplitAttributes(HeadShape heads, int64_t parts) {
  return {{"query_heads", heads.query_heads},
          {"key_heads", heads.key_heads},
          {"head_size", heads.head_size},
          {"parts", parts}};
}

void CheckHeads(HeadShape heads, int64_t columns, int64_t parts) {
  CHECK_EQ(columns, heads.columns()) << "heads of an exchange";
  CHECK(heads.query_heads % parts == 0 && heads.key_heads % parts == 0)
      << heads.query_heads << " query and " << heads.key_heads << " key heads over " << parts << " ranks";
}

}  // namespace

Tensor TokensToHeads(Tensor x, Axis axis, HeadShape heads) {
  const int64_t n = x.recorder().mesh()[axis];
  if (n == 1) return x;
  CheckHeads(heads, x.shape()[1], n);
  CHECK(x.layout()[axis] == Shard(0)) << "TokensToHeads: " << x.layout().ToString();
  const Tensor blocks = x.recorder().Record1(
      OpKind::kSplitHeads, {x},
      {x.value().name, x.dtype(), BlocksOf(x.shape(), n), x.layout().With(axis, kVaryingBlocks)},
      SplitAttributes(heads, n));
  return Exchange(blocks, axis, x.layout().With(axis, Shard(1)));
}

Tensor HeadsToTokens(Tensor x, Axis axis, HeadShape heads) {
  const int64_t n = x.recorder().mesh()[axis];
  if (n == 1) return x;
  CheckHeads(heads, x.shape()[1] * n, n);
  CHECK(x.layout()[axis] == Shard(1)) << "HeadsToTokens: " << x.layout().ToString();
  const Tensor blocks = Exchange(x, axis, x.layout().With(axis, kVaryingBlocks));
  return x.recorder().Record1(
      OpKind::kJoinHeads, {blocks},
      {x.value().name, x.dtype(), {x.shape()[0] / n, x.shape()[1] * n}, x.layout().With(axis, Shard(0))},
      SplitAttributes(heads, n));
}

void SplitHeadsGradient(GradientContext& g) {
  const Tensor x = g.input(0);
  g.Add(0, g.recorder().Record1(OpKind::kJoinHeads, {g.gradient(0)},
                                {"d." + x.value().name, x.dtype(), x.shape(), Dual(x.layout())},
                                g.op().attributes));
}

void JoinHeadsGradient(GradientContext& g) {
  const Tensor blocks = g.input(0);
  g.Add(0, g.recorder().Record1(
               OpKind::kSplitHeads, {g.gradient(0)},
               {"d." + blocks.value().name, blocks.dtype(), blocks.shape(), Dual(blocks.layout())},
               g.op().attributes));
}

void AllToAllGradient(GradientContext& g) {
  g.Add(0, Exchange(g.gradient(0), g.op().attributes.AxisOf("axis"), Dual(g.input(0).layout())));
}

}  // namespace trireme
