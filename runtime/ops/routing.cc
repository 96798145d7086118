#include "runtime/ops/routing.h"

#include <glog/logging.h>

#include "runtime/ops/redistribute.h"

namespace trireme {
namespace {

// How many parts tp cuts the rows of `x` into.
int64_t TensorShards(Tensor x) {
  return x.layout()[Axis::kTp].is_shard() ? x.recorder().mesh()[Axis::kTp] : 1;
}

}  // namespace

Routing Router(Tensor logits, int64_t k) {
  const int64_t t = logits.shape()[0], e = logits.shape()[1];
  CHECK(1 <= k && k <= e) << "Router: " << k << " of " << e << " experts";
  const Layout layout = Recorder::Infer("tE->tk", Linearity::kNonlinear, {logits});
  const std::vector<Tensor> results =
      logits.recorder().Record(OpKind::kRouter, {logits},
                               {{"router.weights", logits.recorder().precision().wide(), {t, k}, layout},
                                {"router.experts", DType::kI32, {t, k}, layout}});
  return {results[0], results[1]};
}

void RouterGradient(GradientContext& g) {
  const Tensor dweights = g.gradient(0), logits = g.input(0);
  const Layout layout = Recorder::Infer("tK,tK->te", Linearity::kNonlinear, {dweights, g.output(0)});
  g.Add(0, g.recorder().Record1(OpKind::kRouterGrad, {dweights, g.output(0), g.output(1)},
                                {"d.router", logits.dtype(), logits.shape(), layout},
                                {{"num_experts", logits.shape()[1]}}));
}

Tensor CountChoices(Tensor experts, int64_t num_experts, int64_t sequences, bool balanced) {
  const int64_t shards = TensorShards(experts);
  const int64_t of_cp = experts.recorder().mesh()[Axis::kCp];
  CHECK_EQ(experts.shape()[0] * shards * of_cp % sequences, 0)
      << "CountChoices: " << sequences << " sequences";
  Layout layout = experts.layout();
  for (Axis axis : {Axis::kCp, Axis::kTp}) {
    if (layout[axis].is_shard()) layout[axis] = kPartial;
  }
  Tensor counts = experts.recorder().Record1(OpKind::kCountChoices, {experts},
                                             {"router.counts", DType::kI32, {sequences, num_experts}, layout},
                                             {{"tp_shards", shards}, {"balanced", int64_t{balanced}}});
  for (Axis axis : {Axis::kCp, Axis::kTp}) {
    if (layout[axis] == kPartial) counts = Redistribute(counts, axis, kInvariant);
  }
  return counts;
}

Tensor RouterLoss(Tensor logits, Tensor counts, int64_t sequence_length, double balance, double z,
                  bool balanced) {
  CHECK_EQ(counts.shape()[1], logits.shape()[1]) << "RouterLoss";
  return logits.recorder().Record1(OpKind::kRouterLoss, {logits, counts},
                                   {"router.loss",
                                    logits.recorder().precision().wide(),
                                    {logits.shape()[0]},
                                    Recorder::Infer("tE->t", Linearity::kNonlinear, {logits})},
                                   {{"sequence_length", sequence_length},
                                    {"tp_shards", TensorShards(logits)},
                                    {"balanced", int64_t{balanced}},
                                    {"balance", balance},
                                    {"z", z}});
}

void RouterLossGradient(GradientContext& g) {
  CHECK(!g.gradient(0).present())
      << "RouterLoss: as a root its gradient is one; nothing else may read the loss";
  const Tensor logits = g.input(0), loss = g.output(0);
  const std::vector<Tensor> results =
      g.recorder().Record(OpKind::kRouterLossGrad, {logits, g.input(1)},
                          {{"router.loss", loss.dtype(), loss.shape(), loss.layout()},
                           {"d.router.loss", logits.dtype(), logits.shape(), Dual(logits.layout())}},
                          g.op().attributes);
  g.Yield(0, results[0]);
  g.Add(0, results[1]);
}

Tensor DropOverflow(Tensor experts, int64_t num_experts, int64_t sequences, int64_t capacity, bool balanced) {
  CHECK_EQ(TensorShards(experts), 1) << "DropOverflow: " << experts.layout().ToString();
  const Tensor all = Redistribute(experts, Axis::kCp, kReplicate);
  CHECK_EQ(all.shape()[0] % sequences, 0) << "DropOverflow: " << sequences << " sequences";
  return experts.recorder().Record1(OpKind::kDropOverflow, {all},
                                    {"router.kept", DType::kI32, experts.shape(), experts.layout()},
                                    {{"num_experts", num_experts},
                                     {"sequences", sequences},
                                     {"capacity", capacity},
                                     {"balanced", int64_t{balanced}}});
}

Groups GroupByExpert(Tensor experts, int64_t num_experts) {
  Layout layout = experts.layout();
  for (Axis axis : kAllAxes) {
    if (layout[axis].is_shard()) layout[axis] = {Placement::Kind::kVarying, 0};
  }
  const int64_t rows = experts.shape().num_elements();
  const std::vector<Tensor> results =
      experts.recorder().Record(OpKind::kGroupByExpert, {experts},
                                {{"rows.order", DType::kI32, {rows}, layout},
                                 {"rows.place", DType::kI32, {rows}, layout},
                                 {"rows.offsets", DType::kI32, {num_experts + 1}, layout}});
  return {results[0], results[1], results[2]};
}

void CountDropped(const Groups& groups) {
  Recorder& recorder = groups.offsets.recorder();
  Program& program = recorder.program();
  if (program.dropped_choices == kNoValue) {
    Layout layout = groups.offsets.layout();
    for (Axis axis : kAllAxes) {
      if (layout[axis].kind == Placement::Kind::kVarying) layout[axis] = kPartial;
    }
    program.dropped_choices = recorder.State("dropped_choices", DType::kI64, {1}, layout).id();
  }
  const Tensor dropped(&recorder, program.dropped_choices);
  recorder.Record(OpKind::kCountDropped, {groups.offsets, dropped}, {},
                  {{"choices", groups.order.shape().num_elements()}});
  program.segments.back().ops.back().outputs = {dropped.id()};
}

Tensor PermuteRows(Tensor x, const Groups& groups) {
  for (Axis axis : kAllAxes) CHECK(x.layout()[axis] != Shard(1)) << "PermuteRows: " << x.layout().ToString();
  return x.recorder().Record1(OpKind::kPermuteRows, {x, groups.order, groups.place},
                              {"rows", x.dtype(), {groups.order.shape()[0], x.shape()[1]}, x.layout()});
}

void PermuteRowsGradient(GradientContext& g) {
  // Linear: a Partial gradient stays so.
  const Tensor drows = g.gradient(0), x = g.input(0);
  g.Add(0, g.recorder().Record1(OpKind::kPermuteRowsGrad, {drows, g.input(2)},
                                {"d.rows", x.dtype(), x.shape(), drows.layout()}));
}

Tensor CombineRows(Tensor rows, Tensor weights, const Groups& groups) {
  CHECK_EQ(rows.shape()[0], weights.shape().num_elements()) << "CombineRows";
  const Layout layout = Recorder::Infer("td,tK->td", Linearity::kProduct, {rows, weights});
  return rows.recorder().Record1(OpKind::kCombineRows, {rows, weights, groups.place},
                                 {"combined", rows.dtype(), {weights.shape()[0], rows.shape()[1]}, layout});
}

void CombineRowsGradient(GradientContext& g) {
  const Tensor dout = g.gradient(0), rows = g.input(0), weights = g.input(1);
  const Layout drows = Recorder::Infer("td,tK->td", Linearity::kProduct, {dout, weights});
  const Layout dweights = Recorder::Infer("td,td->tk", Linearity::kProduct, {dout, rows});
  const std::vector<Tensor> results =
      g.recorder().Record(OpKind::kCombineRowsGrad, {dout, rows, weights, g.input(2)},
                          {{"d.combined", rows.dtype(), rows.shape(), drows},
                           {"d.router.weights", weights.dtype(), weights.shape(), dweights}});
  if (g.needs(0)) g.Add(0, results[0]);
  if (g.needs(1)) g.Add(1, results[1]);
}

}  // namespace trireme
