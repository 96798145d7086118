#include "runtime/ops/optimizer.h"

#include <glog/logging.h>

#include "runtime/ops/record_into.h"
#include "runtime/rounding.h"

namespace trireme {
namespace {

Attributes AdamWAttributes(const AdamWOptions& options, bool decay) {
  return {{"beta1", options.beta1},
          {"beta2", options.beta2},
          {"epsilon", options.epsilon},
          {"weight_decay", decay ? options.weight_decay : 0.0}};
}

}  // namespace

void SquaredNorm(Tensor gradient, Tensor out) {
  RecordInto(OpKind::kSquaredNorm, {gradient}, {out}, {});
}

void StepFactors(Tensor squared_norm, Tensor inputs, Tensor updates, Tensor factors,
                 const AdamWOptions& options, double clip_norm) {
  RecordInto(OpKind::kStepFactors, {squared_norm, inputs, updates}, {factors, updates},
             {{"beta1", options.beta1}, {"beta2", options.beta2}, {"clip_norm", clip_norm}});
}

void AdamW(Tensor gradient, Tensor p, Tensor m, Tensor v, Tensor factors, const AdamWOptions& options,
           bool decay) {
  RecordInto(OpKind::kAdamW, {gradient, p, m, v, factors}, {p, m, v}, AdamWAttributes(options, decay));
}

void AdamW(Tensor gradient, Tensor p, Tensor m, Tensor v, Tensor factors, const AdamWOptions& options,
           bool decay, const Rounding& rounding) {
  CHECK(p.dtype() == DType::kBF16) << "only bf16 parameters are rounded, not " << Name(p.dtype());
  CHECK_EQ(rounding.places.shape().cols(), kNumRoundingPlaceFields);
  RecordInto(OpKind::kAdamW, {gradient, p, m, v, factors, rounding.places, rounding.updates}, {p, m, v},
             AdamWAttributes(options, decay));
}

void CastTo(Tensor p, Tensor copy) {
  RecordInto(OpKind::kCast, {p}, {copy}, {});
}

}  // namespace trireme
