#include "runtime/ops/rms_norm.h"

#include <glog/logging.h>

namespace trireme {

Tensor RmsNorm(Tensor x, Tensor gain, double eps) {
  CHECK_EQ(gain.shape()[0], x.shape()[1]) << "RmsNorm: gain " << gain.value().name;
  const Layout layout = Recorder::Infer("tD,D->tD", Linearity::kNonlinear, {x, gain});
  const Layout rows = Recorder::Infer("tD->t", Linearity::kNonlinear, {x});
  return x.recorder().Record(OpKind::kRmsNorm, {x, gain},
                             {{"norm", x.dtype(), x.shape(), layout},
                              {"norm.r", x.recorder().precision().wide(), {x.shape()[0]}, rows}},
                             {{"eps", eps}})[0];
}

void RmsNormGradient(GradientContext& g) {
  const Tensor dy = g.gradient(0), x = g.input(0), gain = g.input(1), r = g.output(1);
  const Layout dx = Recorder::Infer("tD,tD,D,t->tD", Linearity::kNonlinear, {dy, x, gain, r});
  const Layout dgain = Recorder::Infer("tD,tD,t->D", Linearity::kProduct, {dy, x, r});
  const std::vector<Tensor> results = g.recorder().Record(
      OpKind::kRmsNormGrad, {dy, x, gain, r},
      {{"d.norm", x.dtype(), x.shape(), dx}, {"d.gain", gain.dtype(), gain.shape(), dgain}},
      g.op().attributes);
  g.Add(1, results[1]);
  if (g.needs(0)) g.Add(0, results[0]);
}

}  // namespace trireme
