#include "runtime/passes/fuse_products.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace trireme {
namespace {

class ProductFusion {
 public:
  explicit ProductFusion(Program& program) : program_(program), num_reads_(program.values.size(), 0) {
    for (const Segment& segment : program.segments) {
      for (const Op& op : segment.ops) {
        for (ValueId input : op.inputs) {
          if (input != kNoValue) ++num_reads_[program.StorageOf(input)];
        }
      }
    }
  }

  void Run() {
    for (Segment& segment : program_.segments) {
      std::vector<Op>& ops = segment.ops;
      for (size_t i = 0; i + 1 < ops.size(); ++i) {
        if (ops[i].kind == OpKind::kLinear) FuseWithGelu(ops[i], ops[i + 1]);
        if (ops[i].kind == OpKind::kLinearWeightGrad) FuseWithBiasGradient(ops[i], ops[i + 1]);
      }
      for (size_t i = 0; i < ops.size(); ++i) {
        if (ops[i].kind == OpKind::kGeluGrad) FuseWithProductBefore(ops, i);
      }
      // What was fused away has no results any more.
      std::erase_if(ops, [](const Op& op) { return op.outputs.empty(); });
    }
  }

 private:
  // Whether a value that some op reads is read by nobody else.
  bool IsReadOnce(ValueId id) const {
    return program_.value(id).base == kNoValue && num_reads_[id] == 1 && id != program_.stage_output &&
           id != program_.stage_input_gradient && id != program_.logits;
  }
  bool IsParameterGradient(ValueId id) const {
    return program_.value(id).kind == ValueKind::kParameterGradient;
  }

  void FuseWithGelu(Op& linear, Op& gelu) const {
    const ValueId product = linear.outputs[0];
    if (gelu.kind != OpKind::kGelu || gelu.inputs[0] != product || gelu.recomputed != linear.recomputed) {
      return;
    }
    linear.kind = OpKind::kLinearGelu;
    linear.outputs = {gelu.outputs[0]};
    if (!IsReadOnce(product)) linear.outputs.push_back(product);
    gelu = {.kind = OpKind::kGelu};
  }

  void FuseWithBiasGradient(Op& weight, Op& bias) const {
    if (bias.kind != OpKind::kColumnSum || bias.inputs[0] != weight.inputs[0]) return;
    if (!IsParameterGradient(weight.outputs[0]) || !IsParameterGradient(bias.outputs[0])) return;
    if (weight.always_accumulates != bias.always_accumulates) return;
    weight.kind = OpKind::kLinearWeightBiasGrad;
    weight.outputs.push_back(bias.outputs[0]);
    bias = {.kind = OpKind::kColumnSum};
  }

  // Looks back from a GeluGrad for the product whose result it alone reads; what that multiplies must still
  // be as it was.
  void FuseWithProductBefore(std::vector<Op>& ops, size_t at) const {
    Op& grad = ops[at];
    const ValueId gradient = grad.inputs[0];
    if (!IsReadOnce(gradient)) return;
    std::vector<ValueId> written;
    for (size_t i = at; i-- > 0;) {
      Op& product = ops[i];
      const bool makes_it =
          std::find(product.outputs.begin(), product.outputs.end(), gradient) != product.outputs.end();
      if (!makes_it) {
        for (ValueId output : product.outputs) written.push_back(program_.StorageOf(output));
        continue;
      }
      if (product.kind != OpKind::kLinearInputGrad) return;
      for (ValueId operand : product.inputs) {
        const ValueId storage = program_.StorageOf(operand);
        if (std::find(written.begin(), written.end(), storage) != written.end()) return;
      }
      grad.kind = OpKind::kLinearInputGeluGrad;
      grad.inputs = {product.inputs[0], product.inputs[1], grad.inputs[1]};
      grad.flops = product.flops;
      product = {.kind = OpKind::kLinearInputGrad};
      return;
    }
  }

  Program& program_;
  std::vector<int> num_reads_;  // by storage
};

}  // namespace

void FuseProductsPass(Program& program) {
  ProductFusion(program).Run();
}

}  // namespace trireme
