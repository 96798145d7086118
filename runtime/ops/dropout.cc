#include "runtime/ops/dropout.h"

#include <glog/logging.h>

#include "runtime/random.h"

namespace trireme {
namespace {

Tensor RecordDropout(Tensor x, Tensor token_index, Attributes attributes) {
  CHECK_EQ(token_index.shape()[0], x.shape()[0]) << "Dropout";
  // Linear in x, but the mask differs from column to column: D must not be sharded.
  const Layout layout = Recorder::Infer("tD,~t->tD", Linearity::kProduct, {x, token_index});
  return x.recorder().Record1(OpKind::kDropout, {x, token_index}, {"dropout", x.dtype(), x.shape(), layout},
                              std::move(attributes));
}

}  // namespace

Tensor Dropout(Tensor x, Tensor token_index, double rate, uint64_t seed, std::string_view name) {
  if (rate == 0) return x;
  return RecordDropout(
      x, token_index,
      {{"rate", rate}, {"seed", static_cast<int64_t>(seed)}, {"name", static_cast<int64_t>(HashName(name))}});
}

void DropoutGradient(GradientContext& g) {
  g.Add(0, RecordDropout(g.gradient(0), g.input(1), g.op().attributes));
}

}  // namespace trireme
