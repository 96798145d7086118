#include "runtime/ops/layer_norm.h"

#include <glog/logging.h>

namespace trireme {

Tensor LayerNorm(Tensor x, Tensor gain, Tensor bias, double eps) {
  CHECK_EQ(gain.shape()[0], x.shape()[1]) << "LayerNorm: gain " << gain.value().name;
  CHECK_EQ(bias.shape()[0], x.shape()[1]) << "LayerNorm: bias " << bias.value().name;
  const Layout layout = Recorder::Infer("tD,D,D->tD", Linearity::kNonlinear, {x, gain, bias});
  const Layout rows = Recorder::Infer("tD->t", Linearity::kNonlinear, {x});
  return x.recorder().Record(OpKind::kLayerNorm, {x, gain, bias},
                             {{"norm", x.dtype(), x.shape(), layout},
                              {"norm.statistics", x.recorder().precision().wide(), {x.shape()[0], 2}, rows}},
                             {{"eps", eps}})[0];
}

void LayerNormGradient(GradientContext& g) {
  const Tensor dy = g.gradient(0), x = g.input(0), gain = g.input(1), statistics = g.output(1);
  const Layout dx = Recorder::Infer("tD,tD,D,ts->tD", Linearity::kNonlinear, {dy, x, gain, statistics});
  const Layout dgain = Recorder::Infer("tD,tD,ts->D", Linearity::kProduct, {dy, x, statistics});
  const std::vector<Tensor> results = g.recorder().Record(OpKind::kLayerNormGrad, {dy, x, gain, statistics},
                                                          {{"d.norm", x.dtype(), x.shape(), dx},
                                                           {"d.gain", gain.dtype(), gain.shape(), dgain},
                                                           {"d.bias", gain.dtype(), gain.shape(), dgain}},
                                                          g.op().attributes);
  g.Add(1, results[1]);
  g.Add(2, results[2]);
  if (g.needs(0)) g.Add(0, results[0]);
}

}  // namespace trireme
