#include "runtime/recorder.h"

#include <glog/logging.h>

#include <algorithm>

#include "runtime/op_table.h"

namespace trireme {

const Value& Tensor::value() const {
  CHECK(present()) << "an absent tensor was used";
  return recorder_->program().values[id_];
}

int64_t LocalExtent(int64_t size, int dim, const Layout& layout, const AxisSizes& mesh) {
  for (Axis axis : kAllAxes) {
    if (layout[axis] != Shard(dim)) continue;
    CHECK_EQ(size % mesh[axis], 0) << "a dim of size " << size << " sharded over " << Name(axis)
                                   << " of size " << mesh[axis];
    size /= mesh[axis];
  }
  return size;
}

Tensor Recorder::NewValue(Value value) {
  program_->values.push_back(std::move(value));
  return {this, static_cast<ValueId>(program_->values.size()) - 1};
}

void Recorder::BeginSegment(std::string name, Region region, int forward_of) {
  program_->segments.push_back({std::move(name), region, forward_of, {}});
}

Tensor Recorder::Input(std::string name, DType dtype, Shape shape, Layout layout) {
  return NewValue(
      {.name = std::move(name), .kind = ValueKind::kInput, .dtype = dtype, .shape = shape, .layout = layout});
}

Tensor Recorder::Received(std::string name, DType dtype, Shape shape, Layout layout, bool requires_gradient) {
  return NewValue({.name = std::move(name),
                   .kind = ValueKind::kReceived,
                   .dtype = dtype,
                   .shape = shape,
                   .layout = layout,
                   .requires_gradient = requires_gradient});
}

Tensor Recorder::State(std::string name, DType dtype, Shape shape, Layout layout) {
  return NewValue(
      {.name = std::move(name), .kind = ValueKind::kState, .dtype = dtype, .shape = shape, .layout = layout});
}

const ParameterGroup* Recorder::FindGroup(const std::vector<Parameter>& parts) const {
  for (const ParameterGroup& group : program_->parameters) {
    const auto shared =
        std::find_first_of(parts.begin(), parts.end(), group.parts.begin(), group.parts.end(),
                           [](const Parameter& a, const Parameter& b) { return a.name == b.name; });
    if (shared == parts.end()) continue;
    CHECK(std::equal(parts.begin(), parts.end(), group.parts.begin(), group.parts.end(),
                     [](const Parameter& a, const Parameter& b) { return a.name == b.name; }))
        << "parameter " << shared->name << " is used in two groups";
    for (size_t i = 0; i < parts.size(); ++i) {
      const Parameter& known = group.parts[i];
      CHECK(known.layout == parts[i].layout)
          << "parameter " << known.name << " has two layouts: " << known.layout.ToString() << " and "
          << parts[i].layout.ToString();
      CHECK(known.global_shape == parts[i].global_shape)
          << "parameter " << known.name << " has two shapes: " << known.global_shape.ToString() << " and "
          << parts[i].global_shape.ToString();
    }
    return &group;
  }
  return nullptr;
}

Tensor Recorder::Parameters(std::vector<Parameter> parts) {
  CHECK(!parts.empty());
  if (const ParameterGroup* tied = FindGroup(parts)) return {this, tied->value};
  Shape local;
  for (Parameter& part : parts) {
    if (part.padded_shape.num_dims() == 0) part.padded_shape = part.global_shape;
    CHECK(part.layout == parts[0].layout) << part.name;
    const Shape& shape = part.padded_shape;
    Shape mine;
    for (int d = 0; d < shape.num_dims(); ++d) mine.Append(LocalExtent(shape[d], d, part.layout, mesh_));
    part.decay = shape.num_dims() >= 2;
    if (local.num_dims() == 0) {
      local = mine;
    } else {
      CHECK_EQ(local.num_dims(), mine.num_dims()) << part.name;
      for (int d = 1; d < mine.num_dims(); ++d) CHECK_EQ(local[d], mine[d]) << part.name;
      local[0] += mine[0];
    }
  }
  if (parts[0].layout[Axis::kEp] == Shard(0)) {
    const int64_t ep = mesh_[Axis::kEp], num_parts = static_cast<int64_t>(parts.size());
    CHECK_EQ(num_parts % ep, 0) << parts[0].name << " and others over ep";
    local[0] /= ep;
  }
  const DType dtype = parts[0].decay ? precision_.compute : precision_.wide();
  const Tensor tensor = NewValue({.name = parts[0].name,
                                  .kind = ValueKind::kParameter,
                                  .dtype = dtype,
                                  .shape = local,
                                  .layout = parts[0].layout,
                                  .requires_gradient = true});
  program_->parameters.push_back(
      {.value = tensor.id(), .segment = current_segment(), .parts = std::move(parts)});
  return tensor;
}

std::vector<Tensor> Recorder::Record(OpKind kind, absl::Span<const Tensor> inputs,
                                     std::vector<ResultSpec> results, Attributes attributes, double flops) {
  CHECK(!program_->segments.empty()) << "an op was recorded before a segment was begun";
  Op op{.kind = kind, .attributes = std::move(attributes), .flops = flops};
  bool requires_gradient = false;
  for (const Tensor& input : inputs) {
    CHECK(!input.present() || &input.recorder() == this) << Name(kind) << " mixes two programs";
    op.inputs.push_back(input.id());
    requires_gradient |= input.present() && input.value().requires_gradient;
  }
  requires_gradient &= Definition(kind).gradient != nullptr;
  std::vector<Tensor> tensors;
  for (ResultSpec& result : results) {
    const bool differentiable = requires_gradient && IsFloat(result.dtype);
    tensors.push_back(NewValue({.name = std::move(result.name),
                                .dtype = result.dtype,
                                .shape = result.shape,
                                .layout = result.layout,
                                .requires_gradient = differentiable}));
    op.outputs.push_back(tensors.back().id());
  }
  program_->segments.back().ops.push_back(std::move(op));
  return tensors;
}

Tensor Recorder::Record1(OpKind kind, absl::Span<const Tensor> inputs, ResultSpec result,
                         Attributes attributes, double flops) {
  return Record(kind, inputs, {std::move(result)}, std::move(attributes), flops)[0];
}

Tensor Recorder::Rows(Tensor x, int64_t begin, int64_t rows) {
  CHECK(begin >= 0 && begin + rows <= x.shape()[0])
      << "rows [" << begin << ", " << begin + rows << ") of " << x.shape().ToString();
  Value window = x.value();
  window.kind = ValueKind::kResult;
  window.base = x.id();
  window.shape[0] = rows;
  window.offset = begin * (x.shape().num_elements() / std::max<int64_t>(1, x.shape()[0]));
  return NewValue(std::move(window));
}

Tensor Recorder::Alias(Tensor x, std::string name, Shape shape, Layout layout) {
  CHECK_EQ(shape.num_elements(), x.shape().num_elements()) << name;
  Value alias = x.value();
  alias.name = std::move(name);
  alias.kind = ValueKind::kResult;
  alias.base = x.id();
  alias.offset = 0;
  alias.shape = shape;
  alias.layout = layout;
  return NewValue(std::move(alias));
}

Tensor Recorder::Buffer(ResultSpec spec) {
  return NewValue(
      {.name = std::move(spec.name), .dtype = spec.dtype, .shape = spec.shape, .layout = spec.layout});
}

namespace {

void CheckRoot(Tensor loss) {
  for (Axis axis : {Axis::kDp, Axis::kCp, Axis::kTp}) {
    CHECK(loss.layout()[axis] != kReplicate)
        << "a loss that is Replicate on " << Name(axis) << " would count once a rank";
  }
}

}  // namespace

void Recorder::Root(Tensor loss) {
  CheckRoot(loss);
  program_->roots.push_back(loss.id());
}

void Recorder::AuxiliaryRoot(Tensor loss) {
  CheckRoot(loss);
  program_->auxiliary_roots.push_back(loss.id());
}

Layout Recorder::Infer(const char* signature, Linearity linearity, absl::Span<const Tensor> operands) {
  std::vector<Layout> layouts;
  std::string names;
  for (const Tensor& operand : operands) {
    layouts.push_back(operand.layout());
    names += " " + operand.value().name + operand.shape().ToString();
  }
  absl::StatusOr<Layout> layout = Propagate(signature, linearity, layouts);
  CHECK(layout.ok()) << layout.status().message() << ", operands" << names;
  return *layout;
}

}  // namespace trireme
