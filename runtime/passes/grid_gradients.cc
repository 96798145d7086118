#include "runtime/passes/grid_gradients.h"

#include <glog/logging.h>

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "runtime/op_table.h"

namespace trireme {
namespace {

class GridPass {
 public:
  GridPass(Recorder& recorder, const GradientGrid& grid)
      : recorder_(recorder), program_(recorder.program()), grid_(grid) {}

  void Run() {
    overflow_ = recorder_.State("grid_overflow", DType::kI64, {1}, Layout());
    program_.grid_overflow = overflow_.id();
    for (const ParameterGroup& group : program_.parameters) {
      program_.values[group.gradient].dtype = DType::kI64;
    }
    std::vector<Segment> segments = std::move(program_.segments);
    program_.segments.clear();
    for (Segment& segment : segments) RunSegment(segment);
  }

 private:
  bool IsGradient(ValueId id) const { return program_.value(id).kind == ValueKind::kParameterGradient; }

  void RunSegment(const Segment& segment) {
    recorder_.BeginSegment(segment.name, segment.region, segment.forward_of);
    std::map<ValueId, size_t> last_writer;
    for (size_t i = 0; i < segment.ops.size(); ++i) {
      for (ValueId output : segment.ops[i].outputs) {
        if (IsGradient(output)) last_writer[output] = i;
      }
    }
    parts_.clear();
    for (size_t i = 0; i < segment.ops.size(); ++i) {
      const std::vector<ValueId> gradients = WriteParts(segment.ops[i]);
      for (ValueId gradient : gradients) {
        if (last_writer.at(gradient) == i) AddPart(gradient, segment.forward_of);
      }
    }
  }

  // Appends the op with this micro-batch's part in the place of each gradient. Returns the gradients.
  std::vector<ValueId> WriteParts(Op op) {
    for (ValueId input : op.inputs) {
      CHECK(input == kNoValue || !IsGradient(program_.StorageOf(input)))
          << Name(op.kind) << " reads the gradient " << program_.value(input).name;
    }
    std::vector<ValueId> gradients;
    for (ValueId& output : op.outputs) {
      CHECK(IsGradient(output) || !IsGradient(program_.StorageOf(output)))
          << Name(op.kind) << " writes a window of a gradient, " << program_.value(output).name;
      if (!IsGradient(output)) continue;
      const bool is_first = parts_.count(output) == 0;
      if (is_first) parts_.emplace(output, MakePart(output));
      CHECK(gradients.empty() || op.always_accumulates == !is_first)
          << Name(op.kind) << " makes gradients of which one is there and another is not";
      op.always_accumulates = !is_first;
      gradients.push_back(output);
      output = parts_.at(output).id();
    }
    program_.segments.back().ops.push_back(std::move(op));
    return gradients;
  }

  Tensor MakePart(ValueId gradient) {
    const Value& value = program_.value(gradient);
    return recorder_.Buffer(
        {value.name + ".micro_batch", recorder_.precision().wide(), value.shape, value.layout});
  }

  void AddPart(ValueId gradient, int forward_of) {
    // Else a schedule that splits backward would round twice what another rounds once.
    CHECK(segments_of_.emplace(gradient, forward_of).second)
        << program_.value(gradient).name << " is made by two parts of one segment";
    AddToGrid(parts_.at(gradient), overflow_, Tensor(&recorder_, gradient), grid_,
              !written_.insert(gradient).second);
  }

  Recorder& recorder_;
  Program& program_;
  const GradientGrid grid_;
  Tensor overflow_;
  std::map<ValueId, Tensor> parts_;                // of the segment at hand, by gradient
  std::set<ValueId> written_;                      // by earlier segments
  std::set<std::pair<ValueId, int>> segments_of_;  // the forward segments that gradients are of
};

}  // namespace

void GridGradients(Recorder& recorder, const GradientGrid& grid) {
  GridPass(recorder, grid).Run();
}

}  // namespace trireme
