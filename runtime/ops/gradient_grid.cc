#include "runtime/ops/gradient_grid.h"

#include <glog/logging.h>

#include <bit>

#include "runtime/ops/record_into.h"

namespace trireme {

GradientGrid GradientGrid::For(int64_t tokens, int64_t num_parts) {
  CHECK(tokens > 0 && num_parts > 0);
  const int64_t log_tokens = std::bit_width(static_cast<uint64_t>(tokens) - 1);
  // Without its last bits the limit is a double too; and 2 num_parts (limit - 1) < 2^63.
  const int64_t limit = (int64_t{1} << 62) / num_parts & ~int64_t{1023};
  return {.exponent = log_tokens - 52, .limit = limit};
}

void AddToGrid(Tensor x, Tensor overflow, Tensor gradient, const GradientGrid& grid,
               bool always_accumulates) {
  CHECK(x.shape() == gradient.shape() && gradient.dtype() == DType::kI64) << gradient.value().name;
  Op& op = RecordInto(OpKind::kAddToGrid, {x, overflow}, {gradient, overflow},
                      {{"exponent", grid.exponent}, {"limit", grid.limit}});
  op.always_accumulates = always_accumulates;
}

void GridSquaredNorm(Tensor gradient, Tensor out) {
  RecordInto(OpKind::kGridSquaredNorm, {gradient}, {out}, {});
}

void GridSum(Tensor norms, Tensor overflow, Tensor sums) {
  RecordInto(OpKind::kGridSum, {norms, overflow}, {sums, overflow}, {});
}

Tensor GridNorm(Tensor sums, const GradientGrid& grid) {
  return sums.recorder().Record1(OpKind::kGridNorm, {sums}, {"squared_norm", DType::kF64, {1}, sums.layout()},
                                 {{"exponent", grid.exponent}});
}

Tensor FromGrid(Tensor gradient, const GradientGrid& grid) {
  Recorder& recorder = gradient.recorder();
  return recorder.Record1(OpKind::kFromGrid, {gradient},
                          {"gradient.wide", recorder.precision().wide(), gradient.shape(), gradient.layout()},
                          {{"exponent", grid.exponent}});
}

}  // namespace trireme
