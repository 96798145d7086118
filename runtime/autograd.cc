#include "runtime/autograd.h"

#include <glog/logging.h>

#include <algorithm>

#include "runtime/op_table.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/elementwise.h"

namespace trireme {
namespace {

// The state of one differentiation: the gradient of every value found so far.
class Differentiation {
 public:
  explicit Differentiation(Recorder& recorder)
      : recorder_(recorder), program_(recorder.program()), gradients_(program_.values.size(), kNoValue) {}

  void Seed(ValueId value, ValueId gradient) {
    CHECK(program_.value(gradient).layout == Dual(program_.value(value).layout));
    gradients_[value] = gradient;
  }

  void RunSegment(int forward) {
    recorder_.BeginSegment(program_.segments[forward].name, Region::kBackward, forward);
    // Ops are copied out one by one: recording appends to the vectors that hold them.
    for (int i = static_cast<int>(program_.segments[forward].ops.size()) - 1; i >= 0; --i) {
      const Op op = program_.segments[forward].ops[i];
      if (IsReached(op)) RunOp(op);
    }
    DropYieldedOps(forward);
  }

  void AddTo(ValueId value, Tensor gradient) {
    const Value& target = program_.value(value);
    CHECK(gradient.layout() == Dual(target.layout))
        << "the gradient of " << target.name << " " << target.layout.ToString() << " is laid out as "
        << gradient.layout().ToString();
    CHECK(gradient.shape() == target.shape)
        << "the gradient of " << target.name << " " << target.shape.ToString() << " is "
        << gradient.shape().ToString();
    if (target.kind == ValueKind::kParameter) {
      AddToParameter(value, gradient);
    } else if (gradients_[value] == kNoValue) {
      gradients_[value] = gradient.id();
    } else {
      gradients_[value] = Add(Tensor(&recorder_, gradients_[value]), gradient).id();
    }
  }

  // An op adds into all of its parameter gradients or overwrites them all: that must be right for each.
  void CheckAccumulation(int first_segment) const {
    std::vector<bool> written(program_.values.size(), false);
    for (size_t s = first_segment; s < program_.segments.size(); ++s) {
      for (const Op& op : program_.segments[s].ops) CheckAccumulation(op, written);
    }
  }

  ValueId gradient(ValueId value) const { return gradients_[value]; }
  const std::vector<ValueId>& gradients() const { return gradients_; }
  bool is_root(ValueId value) const {
    const std::vector<ValueId>& auxiliary = program_.auxiliary_roots;
    return std::find(program_.roots.begin(), program_.roots.end(), value) != program_.roots.end() ||
           std::find(auxiliary.begin(), auxiliary.end(), value) != auxiliary.end();
  }
  void Yield(ValueId old_value, ValueId new_value) {
    std::replace(program_.roots.begin(), program_.roots.end(), old_value, new_value);
    std::replace(program_.auxiliary_roots.begin(), program_.auxiliary_roots.end(), old_value, new_value);
    yielded_.push_back(old_value);
  }

 private:
  class Context;

  bool IsReached(const Op& op) const {
    if (Definition(op.kind).gradient == nullptr) return false;
    for (ValueId output : op.outputs) {
      if (!program_.value(output).requires_gradient) continue;
      if (gradients_[output] != kNoValue || is_root(output)) return true;
    }
    return false;
  }

  void RunOp(const Op& op);

  // Renames the result of the op just recorded to the parameter's gradient, which that op then adds to in
  // place.
  void AddToParameter(ValueId parameter, Tensor gradient) {
    auto group = std::find_if(program_.parameters.begin(), program_.parameters.end(),
                              [&](const ParameterGroup& g) { return g.value == parameter; });
    CHECK(group != program_.parameters.end());
    auto accumulates = [](const Op& op, ValueId result) {
      const auto output = std::find(op.outputs.begin(), op.outputs.end(), result);
      return output != op.outputs.end() &&
             (Definition(op.kind).accumulates >> (output - op.outputs.begin()) & 1u) != 0;
    };
    // What is the gradient of another value as well must not be added to by later micro-batches.
    const bool shared = std::find(gradients_.begin(), gradients_.end(), gradient.id()) != gradients_.end();
    if (shared || !accumulates(program_.segments.back().ops.back(), gradient.id())) {
      gradient = Accumulate(gradient);
    }
    Op& op = program_.segments.back().ops.back();
    const auto output = std::find(op.outputs.begin(), op.outputs.end(), gradient.id());
    if (group->gradient == kNoValue) {
      group->gradient = gradient.id();
      Value& value = program_.values[gradient.id()];
      value.kind = ValueKind::kParameterGradient;
      value.name = "d." + program_.value(parameter).name;
      gradients_[parameter] = gradient.id();
    } else {
      *output = group->gradient;
      op.always_accumulates = true;
    }
  }

  void CheckAccumulation(const Op& op, std::vector<bool>& written) const {
    auto is_gradient = [this](ValueId id) {
      return program_.value(id).kind == ValueKind::kParameterGradient;
    };
    if (std::none_of(op.outputs.begin(), op.outputs.end(), is_gradient)) return;
    for (size_t i = 0; i < op.outputs.size(); ++i) {
      if ((Definition(op.kind).accumulates >> i & 1u) == 0) continue;
      const ValueId output = op.outputs[i];
      CHECK(is_gradient(output)) << Name(op.kind) << " adds into a parameter's gradient, but also makes "
                                 << program_.value(output).name << ", which is none";
      CHECK_EQ(written[output], op.always_accumulates)
          << Name(op.kind)
          << " makes gradients of which one is tied and another is not: " << program_.value(output).name;
      written[output] = true;
    }
  }

  // Forward ops whose results backward yields itself need not run.
  void DropYieldedOps(int forward) {
    std::vector<Op>& ops = program_.segments[forward].ops;
    std::erase_if(ops, [this](const Op& op) {
      return std::find(yielded_.begin(), yielded_.end(), op.outputs[0]) != yielded_.end();
    });
    yielded_.clear();
  }

  Recorder& recorder_;
  Program& program_;
  std::vector<ValueId> gradients_;
  std::vector<ValueId> yielded_;
};

class Differentiation::Context : public GradientContext {
 public:
  Context(Differentiation* owner, const Op* op) : GradientContext(&owner->recorder_, op), owner_(owner) {}

  Tensor gradient(int i) override { return {&recorder(), owner_->gradient(op().outputs[i])}; }
  void Add(int i, Tensor gradient) override { owner_->AddTo(op().inputs[i], gradient); }
  void Yield(int i, Tensor value) override { owner_->Yield(op().outputs[i], value.id()); }

 private:
  Differentiation* owner_;
};

void Differentiation::RunOp(const Op& op) {
  Context context(this, &op);
  Definition(op.kind).gradient(context);
  gradients_.resize(program_.values.size(), kNoValue);
}

}  // namespace

std::vector<ValueId> Differentiate(Recorder& recorder, const std::vector<Seed>& seeds) {
  Program& program = recorder.program();
  const int num_forward = static_cast<int>(program.segments.size());
  if (program.stage_output != kNoValue) {
    const Value output = program.value(program.stage_output);
    program.stage_output_gradient =
        recorder.Received("d." + output.name, output.dtype, output.shape, Dual(output.layout), false).id();
  }
  Differentiation differentiation(recorder);
  for (const Seed& seed : seeds) differentiation.Seed(seed.value, seed.gradient);
  if (program.stage_output != kNoValue) {
    differentiation.Seed(program.stage_output, program.stage_output_gradient);
  }
  for (int i = num_forward - 1; i >= 0; --i) {
    differentiation.RunSegment(i);
    if (i == num_forward - 1 && !program.roots.empty()) {
      CHECK_EQ(program.roots.size(), 1) << "one loss a stage";
      program.loss_sum = LossSum({&recorder, program.roots[0]}).id();
    }
  }
  if (program.stage_input != kNoValue && program.value(program.stage_input).requires_gradient) {
    program.stage_input_gradient = differentiation.gradient(program.stage_input);
  }
  for (const ParameterGroup& group : program.parameters) {
    CHECK_NE(group.gradient, kNoValue) << "parameter " << group.parts[0].name << " gets no gradient";
  }
  differentiation.CheckAccumulation(num_forward);
  return differentiation.gradients();
}

}  // namespace trireme
