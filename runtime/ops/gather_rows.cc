#include "runtime/ops/gather_rows.h"

#include <glog/logging.h>

namespace trireme {

Tensor GatherRows(Tensor x, Tensor rows) {
  for (Axis axis : kAllAxes) CHECK(!x.layout()[axis].is_shard()) << "GatherRows of " << x.layout().ToString();
  return x.recorder().Record1(OpKind::kGatherRows, {x, rows},
                              {"rows", x.dtype(), {rows.shape()[0], x.shape()[1]}, x.layout()});
}

}  // namespace trireme
