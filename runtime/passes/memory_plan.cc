#include "runtime/passes/memory_plan.h"

#include <glog/logging.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "runtime/op_table.h"
#include "runtime/passes/assign_offsets.h"

namespace trireme {
namespace {

int64_t Align(int64_t bytes) {
  return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment;
}

// Memory that is in use from time `begin` to time `end`, both included.
struct Interval {
  int64_t begin = std::numeric_limits<int64_t>::max();
  int64_t end = -1;
  int64_t bytes = 0;
  int64_t offset = 0;

  void Touch(int64_t time) {
    begin = std::min(begin, time);
    end = std::max(end, time);
  }
  bool Meets(const Interval& other) const { return begin <= other.end && other.begin <= end; }
};

class Planner {
 public:
  Planner(const Program& program, const Device& device) : program_(program), device_(device) {
    const int n = static_cast<int>(program.values.size());
    owner_.resize(n);
    std::iota(owner_.begin(), owner_.end(), 0);
    intervals_.resize(n);
    in_slot_.resize(n, false);
    region_.resize(n, Region::kForward);
  }

  MemoryPlan Run() {
    FindLifetimes();
    MergeOverwritten();
    return Place();
  }

 private:
  bool IsBound(ValueId id) const {
    const ValueKind kind = program_.value(id).kind;
    return kind == ValueKind::kParameter || kind == ValueKind::kParameterGradient ||
           kind == ValueKind::kState;
  }

  void Use(ValueId id, int64_t time, Region region) {
    if (id == kNoValue) return;
    id = program_.StorageOf(id);
    Interval& interval = intervals_[id];
    if (interval.end < 0) {
      region_[id] = region;
    } else if (region_[id] != region) {
      in_slot_[id] = true;
    }
    interval.bytes = Align(program_.value(id).size_bytes());
    interval.Touch(time);
  }

  void FindLifetimes() {
    int64_t time = 0;
    for (const Segment& segment : program_.segments) {
      for (const Op& op : segment.ops) {
        ++time;
        for (ValueId input : op.inputs) Use(input, time, segment.region);
        for (ValueId output : op.outputs) Use(output, time, segment.region);
      }
    }
    end_ = time + 1;
    for (ValueId id = 0; id < program_.values.size(); ++id) {
      const ValueKind kind = program_.values[id].kind;
      if (kind == ValueKind::kInput || kind == ValueKind::kReceived) Keep(id, 0);
    }
    for (ValueId id :
         {program_.stage_output, program_.stage_input_gradient, program_.loss_sum, program_.logits}) {
      Keep(id, end_);
    }
  }

  // In the slot, and in use at `time` as well.
  void Keep(ValueId id, int64_t time) {
    if (id == kNoValue) return;
    id = program_.StorageOf(id);
    intervals_[id].bytes = Align(program_.value(id).size_bytes());
    intervals_[id].Touch(time);
    in_slot_[id] = true;
  }

  // Lets results take over the storage of inputs that die in the op.
  void MergeOverwritten() {
    int64_t time = 0;
    for (const Segment& segment : program_.segments) {
      for (const Op& op : segment.ops) {
        ++time;
        const int k = Definition(op.kind).overwrites;
        if (k < 0 || op.inputs[k] == kNoValue) continue;
        const ValueId input_storage = program_.StorageOf(op.inputs[k]);
        const ValueId output = op.outputs[0];
        if (program_.value(output).base != kNoValue || IsBound(output) || IsBound(input_storage)) continue;
        if (program_.value(input_storage).kind == ValueKind::kInput) continue;
        if (op.inputs[k] != input_storage) continue;  // a window: others may live beside it
        if (ReadsPartOf(input_storage, op)) continue;
        const ValueId input = Owner(input_storage);
        if (input == output || intervals_[input].end != time || intervals_[output].begin != time) continue;
        if (program_.value(output).size_bytes() != program_.value(input_storage).size_bytes()) continue;
        owner_[output] = input;
        intervals_[input].Touch(intervals_[output].end);
        in_slot_[input] = in_slot_[input] || in_slot_[output];
        // Memory that two regions use must outlive the first.
        if (region_[input] != region_[output]) in_slot_[input] = true;
      }
    }
  }

  // Whether the op reads a window that is not all of `storage`: written over before it is read, perhaps.
  bool ReadsPartOf(ValueId storage, const Op& op) const {
    return std::any_of(op.inputs.begin(), op.inputs.end(), [&](ValueId id) {
      return id != kNoValue && program_.StorageOf(id) == storage &&
             program_.value(id).size_bytes() != program_.value(storage).size_bytes();
    });
  }

  ValueId Owner(ValueId id) const {
    while (owner_[id] != id) id = owner_[id];
    return id;
  }

  MemoryPlan Place() {
    MemoryPlan plan;
    plan.places.resize(program_.values.size());
    std::vector<Interval*> transient;
    for (ValueId id = 0; id < program_.values.size(); ++id) {
      if (program_.values[id].base != kNoValue) continue;
      if (IsBound(id)) {
        plan.places[id].kind = MemoryKind::kBound;
      } else if (intervals_[id].end >= 0 && Owner(id) == id) {
        if (in_slot_[id]) {
          plan.places[id] = {MemoryKind::kSlot, plan.slot_bytes};
          plan.slot_bytes += intervals_[id].bytes;
        } else {
          plan.places[id].kind = MemoryKind::kTransient;
          transient.push_back(&intervals_[id]);
        }
      }
    }
    std::vector<Interval> workspaces = Workspaces(plan);
    for (Interval& workspace : workspaces) transient.push_back(&workspace);
    plan.transient_bytes =
        AssignOffsets(transient, [](const Interval& a, const Interval& b) { return a.Meets(b); });
    for (ValueId id = 0; id < program_.values.size(); ++id) {
      if (plan.places[id].kind == MemoryKind::kTransient) plan.places[id].offset = intervals_[id].offset;
    }
    for (ValueId id = 0; id < program_.values.size(); ++id) {
      if (Owner(id) != id) plan.places[id] = plan.places[Owner(id)];
    }
    size_t next = 0;
    for (std::vector<int64_t>& segment : plan.workspaces) {
      for (int64_t& offset : segment) offset = workspaces[next++].offset;
    }
    return plan;
  }

  std::vector<Interval> Workspaces(MemoryPlan& plan) const {
    std::vector<Interval> workspaces;
    int64_t time = 0;
    for (const Segment& segment : program_.segments) {
      plan.workspaces.emplace_back(segment.ops.size());
      for (const Op& op : segment.ops) {
        ++time;
        workspaces.push_back({time, time, Align(WorkspaceOf(op))});
        plan.workspace_bytes = std::max(plan.workspace_bytes, workspaces.back().bytes);
      }
    }
    return workspaces;
  }

  int64_t WorkspaceOf(const Op& op) const {
    if (Definition(op.kind).communicates || op.kind == OpKind::kRelabel) return 0;
    const KernelEntry& kernel = device_.kernel(op.kind);
    if (kernel.workspace_bytes == nullptr) return 0;
    auto views = [this](const std::vector<ValueId>& ids) {
      std::vector<View> views;
      views.reserve(ids.size());
      for (ValueId id : ids) {
        views.push_back(id == kNoValue ? View{}
                                       : View{nullptr, program_.value(id).dtype, program_.value(id).shape});
      }
      return views;
    };
    return kernel.workspace_bytes(op, views(op.inputs), views(op.outputs), device_.num_threads());
  }

  const Program& program_;
  const Device& device_;
  std::vector<ValueId> owner_;  // the value whose storage a value took over, or itself
  std::vector<Interval> intervals_;
  std::vector<bool> in_slot_;
  std::vector<Region> region_;
  int64_t end_ = 0;
};

}  // namespace

MemoryPlan PlanMemory(const Program& program, const Device& device) {
  return Planner(program, device).Run();
}

}  // namespace trireme
