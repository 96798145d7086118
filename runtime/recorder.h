// Records ops into a Program and checks them as they come. The functions under ops/ call it; model code calls
// those.
#ifndef TRIREME_RUNTIME_RECORDER_H_
#define TRIREME_RUNTIME_RECORDER_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "runtime/program.h"
#include "runtime/tensor.h"

namespace trireme {

// The dtypes of a program.
struct Precision {
  DType compute = DType::kF32;  // activations and matrices: f32, bf16 or (tests) f64
  // Statistics, vectors (norm gains, biases), main gradients, master weights and optimiser state.
  DType wide() const { return compute == DType::kF64 ? DType::kF64 : DType::kF32; }
};

// What a recorded op yields.
struct ResultSpec {
  std::string name;
  DType dtype;
  Shape shape;
  Layout layout;
};

// A layout, dtype or shape that does not type-check is a bug of the model (the configuration was validated
// before): recording aborts, with the op and the values in the message.
class Recorder {
 public:
  // Records into `program` (which must outlive it) for a mesh of these sizes.
  Recorder(Program* program, AxisSizes mesh, Precision precision)
      : program_(program), mesh_(mesh), precision_(precision) {}
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  Program& program() { return *program_; }
  const AxisSizes& mesh() const { return mesh_; }
  const Precision& precision() const { return precision_; }

  // Ops are appended to the segment that was begun last.
  void BeginSegment(std::string name, Region region, int forward_of = -1);
  int current_segment() const { return static_cast<int>(program_->segments.size()) - 1; }

  // An input that the caller fills for every micro-batch.
  Tensor Input(std::string name, DType dtype, Shape shape, Layout layout);
  // A stage's border: received from the neighbour. A gradient flows through it if `requires_gradient`.
  Tensor Received(std::string name, DType dtype, Shape shape, Layout layout, bool requires_gradient);
  // State that the caller binds.
  Tensor State(std::string name, DType dtype, Shape shape, Layout layout);

  // Parameters that lie next to each other, stacked along dim 0 in one value. All have one layout and agree
  // in all dims but the first; shapes are divisible by the mesh axes that shard them (after padding). ep
  // shards the stack: each rank holds as many whole parts, those of its experts. Asking again for parameters
  // of the same names yields the same value: that is how weights are tied.
  Tensor Parameters(std::vector<Parameter> parts);

  // Appends an op; returns its results. A result requires a gradient if an input does and `differentiable`.
  std::vector<Tensor> Record(OpKind kind, absl::Span<const Tensor> inputs, std::vector<ResultSpec> results,
                             Attributes attributes = {}, double flops = 0);
  // The same for one result.
  Tensor Record1(OpKind kind, absl::Span<const Tensor> inputs, ResultSpec result, Attributes attributes = {},
                 double flops = 0);

  // Rows [begin, begin + rows) of x as a value that shares x's storage.
  Tensor Rows(Tensor x, int64_t begin, int64_t rows);
  // x's storage under another shape or layout of the same size: costs nothing.
  Tensor Alias(Tensor x, std::string name, Shape shape, Layout layout);
  // A value of its own that rows are written into by ops that are given windows of it.
  Tensor Buffer(ResultSpec spec);

  // Marks `loss` as part of the training objective. Must be Invariant or Partial or Shard on every axis.
  void Root(Tensor loss);
  // The same for a loss that is not reported; a stage may have any number.
  void AuxiliaryRoot(Tensor loss);

  // The layout by Propagate() (layout.h); aborts with the message where it refuses.
  static Layout Infer(const char* signature, Linearity linearity, absl::Span<const Tensor> operands);

 private:
  Tensor NewValue(Value value);
  // The group of these parameters, or nullptr; aborts where they overlap with another group.
  const ParameterGroup* FindGroup(const std::vector<Parameter>& parts) const;

  Program* program_;
  AxisSizes mesh_;
  Precision precision_;
};

// The size on this rank of a dim of global size `size` under `layout`; aborts where it does not divide.
int64_t LocalExtent(int64_t size, int dim, const Layout& layout, const AxisSizes& mesh);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_RECORDER_H_
