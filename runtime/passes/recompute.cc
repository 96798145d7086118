#include "runtime/passes/recompute.h"

#include <glog/logging.h>

#include <map>

#include "runtime/op_table.h"

namespace trireme {
namespace {

// Rewrites one backward segment.
class SegmentRewrite {
 public:
  SegmentRewrite(Program& program, Segment& backward, Recompute recompute)
      : program_(program), backward_(backward), recompute_(recompute) {
    for (const Op& op : program.segments[backward.forward_of].ops) {
      for (ValueId output : op.outputs) producers_[output] = &op;
    }
  }

  void Run() {
    std::vector<Op> ops = std::move(backward_.ops);
    for (Op& op : ops) {
      for (ValueId& input : op.inputs) input = Available(input);
      result_.push_back(std::move(op));
    }
    backward_.ops = std::move(result_);
  }

 private:
  // The value to read for `id` in backward: itself if kept, else a copy, whose op is appended first.
  ValueId Available(ValueId id) {
    if (id == kNoValue) return id;
    if (const auto copy = copies_.find(id); copy != copies_.end()) return copy->second;
    const auto producer = producers_.find(id);
    if (producer == producers_.end() || IsKept(*producer->second)) return id;
    Op copy = *producer->second;
    copy.recomputed = true;
    for (ValueId& input : copy.inputs) input = Available(input);
    for (ValueId& output : copy.outputs) output = Copy(output, copy);
    result_.push_back(copy);
    return copies_.at(id);
  }

  ValueId Copy(ValueId id, const Op& op) {
    Value value = program_.values[id];
    if (value.base != kNoValue) {
      // An alias (Relabel) of its op's input.
      CHECK(op.kind == OpKind::kRelabel) << Name(op.kind);
      value.base = op.inputs[0];
    }
    program_.values.push_back(value);
    copies_[id] = static_cast<ValueId>(program_.values.size()) - 1;
    return copies_[id];
  }

  bool IsKept(const Op& producer) const {
    // What another segment (or a neighbouring stage) reads exists anyway.
    for (ValueId output : producer.outputs) {
      if (output == program_.stage_output || ReadByLaterSegment(output)) return true;
    }
    const OpDefinition& definition = Definition(producer.kind);
    if (definition.kept) return true;
    // An alias is as available as what it names.
    if (producer.kind == OpKind::kRelabel) {
      const auto base = producers_.find(producer.inputs[0]);
      return base == producers_.end() || IsKept(*base->second);
    }
    switch (recompute_) {
      case Recompute::kNone:
        return !definition.regather;
      case Recompute::kSelective:
        return !definition.regather && !definition.cheap;
      case Recompute::kFull:
        return false;
    }
    return true;
  }

  bool ReadByLaterSegment(ValueId id) const {
    for (int s = backward_.forward_of + 1; s < program_.segments.size(); ++s) {
      const Segment& segment = program_.segments[s];
      if (segment.region != Region::kForward) break;
      for (const Op& op : segment.ops) {
        for (ValueId input : op.inputs) {
          if (input == id) return true;
        }
      }
    }
    return false;
  }

  Program& program_;
  Segment& backward_;
  const Recompute recompute_;
  std::map<ValueId, const Op*> producers_;
  std::map<ValueId, ValueId> copies_;
  std::vector<Op> result_;
};

// What was gathered for backward alone (the head's input, where backward yields the loss) is gathered there:
// forward need not.
void DropUnreadGathers(Program& program) {
  std::vector<bool> is_read(program.values.size(), false);
  for (const Segment& segment : program.segments) {
    for (const Op& op : segment.ops) {
      for (ValueId input : op.inputs) {
        if (input != kNoValue) is_read[program.StorageOf(input)] = true;
      }
    }
  }
  for (Segment& segment : program.segments) {
    std::erase_if(segment.ops,
                  [&](const Op& op) { return Definition(op.kind).regather && !is_read[op.outputs[0]]; });
  }
}

}  // namespace

void RecomputePass(Program& program, Recompute recompute) {
  for (Segment& segment : program.segments) {
    if (segment.region == Region::kBackward) SegmentRewrite(program, segment, recompute).Run();
  }
  DropUnreadGathers(program);
}

}  // namespace trireme
