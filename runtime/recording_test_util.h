// A program as tests of Differentiate record it.
#ifndef TRIREME_RUNTIME_RECORDING_TEST_UTIL_H_
#define TRIREME_RUNTIME_RECORDING_TEST_UTIL_H_

#include <map>
#include <utility>
#include <vector>

#include "runtime/autograd.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/passes/expand.h"
#include "runtime/passes/expand_ring.h"
#include "runtime/recorder.h"

namespace trireme {

// A program under test: what it is given, and integers for its inputs.
class Recording {
 public:
  explicit Recording(int tp = 1) : recorder_(&program_, MeshOf(tp), {.compute = DType::kF64}) {
    recorder_.BeginSegment("test", Region::kForward);
  }

  Recorder& recorder() { return recorder_; }
  Program& program() { return program_; }
  const std::map<ValueId, std::vector<double>>& integers() const { return integers_; }
  static AxisSizes MeshOf(int tp) {
    AxisSizes mesh;
    mesh[Axis::kTp] = tp;
    return mesh;
  }

  // The stage's input: a gradient is wanted and goes to the previous stage.
  Tensor X(Shape shape, Layout layout = {}) {
    const Tensor x = recorder_.Received("x", DType::kF64, shape, layout, true);
    program_.stage_input = x.id();
    return x;
  }
  // `shape`: global.
  Tensor P(const char* name, Shape shape, Layout layout = {}) {
    return recorder_.Parameters({{.name = name, .global_shape = shape, .layout = layout}});
  }
  Tensor Integers(const char* name, DType dtype, std::vector<double> numbers) {
    const Tensor input = recorder_.Input(name, dtype, {static_cast<int64_t>(numbers.size())}, {});
    integers_[input.id()] = std::move(numbers);
    return input;
  }

 private:
  Program program_;
  Recorder recorder_;
  std::map<ValueId, std::vector<double>> integers_;
};

// On tp: the same everywhere, and the rows of a vocabulary.
inline const Layout kReplicated = {kInvariant, kReplicate};
inline const Layout kVocabulary = {kInvariant, Shard(0)};

// A head with some tokens that have no target; its loss is a root.
inline Tensor HeadOf(Recording& r, Tensor x, Tensor w, int64_t vocabulary, double z_loss = 0) {
  std::vector<double> targets;
  for (int64_t t = 0; t < x.shape()[0]; ++t) {
    targets.push_back(t % 5 == 1 ? -1.0 : static_cast<double>(t * 7 % vocabulary));
  }
  const Tensor loss =
      LinearCrossEntropy(x, w, r.Integers("targets", DType::kI32, targets), vocabulary, z_loss);
  r.recorder().Root(loss);
  return {};
}

// What a program needs before it runs. `output`: the stage's, if it has one.
inline void Finish(Recording& r, Tensor output) {
  if (output.present()) r.program().stage_output = output.id();
  Differentiate(r.recorder());
  ExpandRingAttention(r.recorder());
  ExpandCrossEntropy(r.recorder(), 1);
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_RECORDING_TEST_UTIL_H_
