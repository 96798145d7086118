// Differentiation as a transformation of a Program: it appends backward segments and has no other effect.
#ifndef TRIREME_RUNTIME_AUTOGRAD_H_
#define TRIREME_RUNTIME_AUTOGRAD_H_

#include <vector>

#include "runtime/recorder.h"

namespace trireme {

// What an op's gradient function sees: the forward op, and the gradients of its results.
class GradientContext {
 public:
  GradientContext(Recorder* recorder, const Op* op) : recorder_(recorder), op_(op) {}
  virtual ~GradientContext() = default;

  const Op& op() const { return *op_; }
  Recorder& recorder() const { return *recorder_; }
  Tensor input(int i) const { return {recorder_, op_->inputs[i]}; }
  Tensor output(int i) const { return {recorder_, op_->outputs[i]}; }
  // Whether a gradient of input i is wanted.
  bool needs(int i) const { return op_->inputs[i] != kNoValue && input(i).value().requires_gradient; }

  // The gradient of output i; absent where nothing depends on it.
  virtual Tensor gradient(int i) = 0;
  // Adds `gradient` to the gradient of input i. Its layout must be the dual of the input's.
  virtual void Add(int i, Tensor gradient) = 0;
  // For ops whose gradient yields their own result (cross-entropy as a root): from now on `value` stands for
  // output i.
  virtual void Yield(int i, Tensor value) = 0;

 private:
  Recorder* recorder_;
  const Op* op_;
};

using GradientFunction = void (*)(GradientContext& g);

// A value whose gradient is given, rather than one.
struct Seed {
  ValueId value;
  ValueId gradient;  // an input of the same shape and dual layout
};

// Appends to the recorded program the backward segments that compute the gradient of the sum of its roots
// (each seeded with one) and of <value, gradient> for each seed, with respect to all parameters, the stage's
// input and every input that requires a gradient. If the program has a stage output, the gradient of that is
// received. Sets the gradients of the parameter groups, `stage_input_gradient` and `loss_sum`, and returns
// each value's gradient (kNoValue for none), for tests. Aborts, naming it, if a parameter gets no gradient.
std::vector<ValueId> Differentiate(Recorder& recorder, const std::vector<Seed>& seeds = {});

}  // namespace trireme

#endif  // TRIREME_RUNTIME_AUTOGRAD_H_
