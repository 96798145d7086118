#include "runtime/ops/expert_exchange.h"

#include <glog/logging.h>

#include <algorithm>

namespace trireme {
namespace {

Attributes AlongEp() {
  return {{"axis", static_cast<int64_t>(Axis::kEp)}};
}

// An exchange is linear: a sum over tp may follow it.
Tensor Exchange(OpKind kind, Tensor rows, Tensor sent_offsets, Tensor received_offsets, ResultSpec result) {
  return rows.recorder().Record1(kind, {rows, sent_offsets, received_offsets}, std::move(result), AlongEp());
}

}  // namespace

Placement OfExperts(const Recorder& recorder) {
  return recorder.mesh()[Axis::kEp] > 1 ? Shard(0) : kInvariant;
}

ExpertRows DispatchRows(Tensor rows, Tensor offsets, int64_t k, int64_t most_of_expert) {
  Recorder& recorder = rows.recorder();
  const int64_t ranks = recorder.mesh()[Axis::kEp], num_experts = offsets.shape()[0] - 1;
  if (ranks == 1) return {rows, offsets, {}, {}};
  CHECK_EQ(num_experts % ranks, 0) << "DispatchRows: experts over ep";
  CHECK_EQ(rows.shape()[0] % k, 0) << "DispatchRows: " << k << " rows of each token";
  const int64_t own = num_experts / ranks;
  const Layout of_offsets = offsets.layout().With(Axis::kEp, {Placement::Kind::kVarying, 0});
  const Tensor received_offsets =
      recorder.Record1(OpKind::kExchangeOffsets, {offsets},
                       {"rows.received", DType::kI32, {ranks, own + 1}, of_offsets}, AlongEp());
  const Tensor own_offsets = recorder.Record1(OpKind::kReceivedOffsets, {received_offsets},
                                              {"rows.offsets", DType::kI32, {own + 1}, of_offsets});
  const int64_t tokens = rows.shape()[0] / k;
  const int64_t bound = ranks * std::min(tokens * std::min(k, own), most_of_expert * own);
  const Tensor here =
      Exchange(OpKind::kDispatchRows, rows, offsets, received_offsets,
               {"rows", rows.dtype(), {bound, rows.shape()[1]}, rows.layout().With(Axis::kEp, Shard(0))});
  return {here, own_offsets, offsets, received_offsets};
}

void DispatchRowsGradient(GradientContext& g) {
  const Tensor drows = g.gradient(0), rows = g.input(0);
  g.Add(0, Exchange(OpKind::kReturnRows, drows, g.input(1), g.input(2),
                    {"d.rows", rows.dtype(), rows.shape(), drows.layout().With(Axis::kEp, kInvariant)}));
}

Tensor ReturnRows(Tensor results, const ExpertRows& rows, int64_t num_rows) {
  if (!rows.received_offsets.present()) return results;
  return Exchange(OpKind::kReturnRows, results, rows.sent_offsets, rows.received_offsets,
                  {"returned",
                   results.dtype(),
                   {num_rows, results.shape()[1]},
                   results.layout().With(Axis::kEp, kInvariant)});
}

void ReturnRowsGradient(GradientContext& g) {
  const Tensor dreturned = g.gradient(0), results = g.input(0);
  g.Add(0, Exchange(OpKind::kDispatchRows, dreturned, g.input(1), g.input(2),
                    {"d.returned", results.dtype(), results.shape(),
                     dreturned.layout().With(Axis::kEp, Shard(0))}));
}

}  // namespace trireme
