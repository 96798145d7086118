#include "runtime/ops/embedding.h"

#include <glog/logging.h>

namespace trireme {
namespace {

bool IsSharded(const Layout& table) {
  return table[Axis::kTp] == Shard(0);
}

}  // namespace

Tensor Embedding(Tensor ids, Tensor table) {
  // A row that lies on another rank yields zeros: the look-up is a product with a one-hot matrix [T, V], of
  // which a rank of a sharded table holds the columns of its rows.
  Layout layout;
  for (Axis axis : {Axis::kDp, Axis::kCp, Axis::kTp}) {
    const Placement t = ids.layout()[axis], v = table.layout()[axis];
    if (v == Shard(0)) {
      CHECK(axis == Axis::kTp && !t.is_shard()) << "Embedding: table " << table.layout().ToString();
      layout[axis] = kPartial;
    } else if (t.is_shard()) {
      CHECK(v == kReplicate) << "Embedding: ids " << ids.layout().ToString() << ", table "
                             << table.layout().ToString();
      layout[axis] = t;
    } else {
      CHECK(v == kReplicate || v == kInvariant) << "Embedding: table " << table.layout().ToString();
      layout[axis] = v;
    }
  }
  return ids.recorder().Record1(OpKind::kEmbedding, {ids, table},
                                {"embedding", table.dtype(), {ids.shape()[0], table.shape()[1]}, layout},
                                {{"sharded", int64_t{IsSharded(table.layout())}}});
}

void EmbeddingGradient(GradientContext& g) {
  const Tensor dy = g.gradient(0), ids = g.input(0), table = g.input(1);
  g.Add(1, g.recorder().Record1(
               OpKind::kEmbeddingGrad, {dy, ids},
               {"d.embedding", g.recorder().precision().wide(), table.shape(), Dual(table.layout())},
               g.op().attributes));
}

}  // namespace trireme
