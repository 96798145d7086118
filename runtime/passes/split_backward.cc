#include "runtime/passes/split_backward.h"

#include <glog/logging.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

namespace trireme {
namespace {

// By storage: whether what stays in backward, or others, read it.
class NeededValues {
 public:
  explicit NeededValues(const Program& program) : program_(program), needed_(program.values.size(), false) {
    Add(program.stage_input_gradient);
    Add(program.loss_sum);
  }

  // Asked of the ops from the last to the first: whether this one stays, and with it all that it reads.
  bool Stays(const Op& op) {
    const bool stays = std::any_of(op.outputs.begin(), op.outputs.end(),
                                   [this](ValueId id) { return needed_[program_.StorageOf(id)]; });
    if (stays) {
      for (ValueId input : op.inputs) Add(input);
    }
    return stays;
  }

 private:
  void Add(ValueId id) {
    if (id != kNoValue) needed_[program_.StorageOf(id)] = true;
  }

  const Program& program_;
  std::vector<bool> needed_;
};

// Of the ops that add into a parameter's gradient, the one that may overwrite must still be the first.
void CheckFirstWriters(const Program& program) {
  std::vector<bool> written(program.values.size(), false);
  for (const Segment& segment : program.segments) {
    for (const Op& op : segment.ops) {
      for (ValueId output : op.outputs) {
        if (program.value(output).kind != ValueKind::kParameterGradient) continue;
        CHECK_EQ(written[output], op.always_accumulates)
            << program.value(output).name << " is overwritten after it was added to";
        written[output] = true;
      }
    }
  }
}

}  // namespace

void SplitBackward(Program& program) {
  NeededValues needed(program);
  std::vector<Segment> weights;  // from the last to the first
  for (auto segment = program.segments.rbegin(); segment != program.segments.rend(); ++segment) {
    if (segment->region != Region::kBackward) continue;
    std::vector<Op> stay, go;
    for (auto op = segment->ops.rbegin(); op != segment->ops.rend(); ++op) {
      (needed.Stays(*op) ? stay : go).push_back(std::move(*op));
    }
    std::reverse(stay.begin(), stay.end());
    std::reverse(go.begin(), go.end());
    segment->ops = std::move(stay);
    if (go.empty()) continue;
    weights.push_back({segment->name, Region::kBackwardWeight, segment->forward_of, std::move(go)});
  }
  std::erase_if(program.segments,
                [](const Segment& s) { return s.region == Region::kBackward && s.ops.empty(); });
  std::move(weights.rbegin(), weights.rend(), std::back_inserter(program.segments));
  CheckFirstWriters(program);
}

}  // namespace trireme
