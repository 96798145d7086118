#include "runtime/ops/shared_heads.h"

#include <glog/logging.h>

namespace trireme {

Tensor SharedRows(Tensor w, int64_t parts, int64_t heads) {
  const int64_t rows = w.shape()[0], tp = w.recorder().mesh()[Axis::kTp];
  CHECK_EQ(rows % (parts * heads), 0) << "SharedRows: " << w.value().name << w.shape().ToString();
  CHECK_EQ(tp % heads, 0) << "SharedRows: " << heads << " heads";
  CHECK(w.layout()[Axis::kTp] == kReplicate) << "SharedRows: " << w.layout().ToString();
  return w.recorder().Record1(
      OpKind::kSharedRows, {w},
      {w.value().name, w.dtype(), {rows / heads, w.shape()[1]}, w.layout().With(Axis::kTp, Shard(0))},
      {{"parts", parts}, {"heads", heads}});
}

void SharedRowsGradient(GradientContext& g) {
  const Tensor dshared = g.gradient(0), w = g.input(0);
  g.Add(0,
        g.recorder().Record1(OpKind::kSharedRowsGrad, {dshared},
                             {"d.shared", dshared.dtype(), w.shape(), Dual(w.layout())}, g.op().attributes));
}

Tensor ConcatColumns(Tensor a, Tensor b) {
  CHECK_EQ(a.shape()[0], b.shape()[0]) << "ConcatColumns: " << a.value().name << ", " << b.value().name;
  CHECK(a.layout() == b.layout()) << "ConcatColumns: " << a.layout().ToString() << " beside "
                                  << b.layout().ToString();
  return a.recorder().Record1(
      OpKind::kConcatColumns, {a, b},
      {a.value().name, a.dtype(), {a.shape()[0], a.shape()[1] + b.shape()[1]}, a.layout()});
}

void ConcatColumnsGradient(GradientContext& g) {
  const Tensor dy = g.gradient(0), a = g.input(0), b = g.input(1);
  const std::vector<Tensor> results = g.recorder().Record(
      OpKind::kSplitColumns, {dy},
      {{"d.left", dy.dtype(), a.shape(), dy.layout()}, {"d.right", dy.dtype(), b.shape(), dy.layout()}});
  if (g.needs(0)) g.Add(0, results[0]);
  if (g.needs(1)) g.Add(1, results[1]);
}

}  // namespace trireme
