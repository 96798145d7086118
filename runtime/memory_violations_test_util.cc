// MemoryViolations: a memory plan run on paper.
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "runtime/op_table.h"
#include "runtime/program_test_util.h"

namespace trireme {
namespace {

constexpr int32_t kNobody = -1;
constexpr int32_t kWorkspace = -2;

// Which storage owns each byte of the slot and of transient memory, as the ops go by.
class PaperRun {
 public:
  PaperRun(const Program& program, const MemoryPlan& plan, const Device& device)
      : program_(program), plan_(plan), device_(device) {
    memory_[MemoryKind::kSlot].resize(plan.slot_bytes, kNobody);
    memory_[MemoryKind::kTransient].resize(plan.transient_bytes, kNobody);
  }

  std::vector<std::string> Run() {
    for (ValueId id = 0; id < program_.values.size(); ++id) {
      const ValueKind kind = program_.value(id).kind;
      // Messages and the host may write what is given at any time before it is read: only a slot can hold it.
      if (kind == ValueKind::kInput || kind == ValueKind::kReceived)
        Write(id, program_.StorageOf(id), "given");
    }
    Region region = Region::kForward;
    for (size_t s = 0; s < program_.segments.size(); ++s) {
      const Segment& segment = program_.segments[s];
      if (segment.region != region) Forget(MemoryKind::kTransient);
      region = segment.region;
      for (size_t i = 0; i < segment.ops.size(); ++i) {
        where_ = absl::StrCat(segment.name, " op ", i, " ", Name(segment.ops[i].kind));
        RunOp(segment.ops[i], plan_.workspaces[s][i]);
      }
    }
    Forget(MemoryKind::kTransient);
    where_ = "the end";
    for (ValueId id :
         {program_.stage_output, program_.stage_input_gradient, program_.loss_sum, program_.logits}) {
      if (id != kNoValue) Read(id);
    }
    return violations_;
  }

 private:
  struct Range {
    MemoryKind kind = MemoryKind::kNone;
    int64_t begin = 0;
    int64_t end = 0;
    bool Meets(const Range& other) const {
      return kind == other.kind && begin < other.end && other.begin < end;
    }
  };

  Range RangeOf(ValueId id) const {
    const MemoryPlan::Place& place = plan_.places[program_.StorageOf(id)];
    const Value& value = program_.value(id);
    const int64_t begin = place.offset + program_.OffsetInStorage(id) * SizeOf(value.dtype);
    return {place.kind, begin, begin + value.size_bytes()};
  }

  void Complain(ValueId id, const std::string& what) {
    violations_.push_back(absl::StrCat(where_, ": %", id, ":", program_.value(id).name, " ", what));
  }

  bool IsPlanned(const Range& range) const { return memory_.contains(range.kind); }

  void Read(ValueId id) {
    const Range range = RangeOf(id);
    if (range.kind == MemoryKind::kNone) Complain(id, "is read but has no place");
    if (!IsPlanned(range)) return;
    const std::vector<int32_t>& owners = memory_.at(range.kind);
    if (range.end > owners.size()) return Complain(id, "lies beyond its memory");
    for (int64_t i = range.begin; i < range.end; ++i) {
      if (owners[i] != program_.StorageOf(id)) return Complain(id, "is read after its bytes went to another");
    }
  }

  void Write(ValueId id, int32_t owner, const char* role) {
    const Range range = RangeOf(id);
    if (!IsPlanned(range)) return;
    std::vector<int32_t>& owners = memory_.at(range.kind);
    if (range.end > owners.size()) return Complain(id, absl::StrCat(role, " lies beyond its memory"));
    std::fill(owners.begin() + range.begin, owners.begin() + range.end, owner);
  }

  void Forget(MemoryKind kind) { std::fill(memory_[kind].begin(), memory_[kind].end(), kNobody); }

  void RunOp(const Op& op, int64_t workspace) {
    if (op.kind == OpKind::kRelabel) return;
    TakeWorkspace(op, workspace);
    for (ValueId input : op.inputs) {
      if (input != kNoValue) Read(input);
    }
    for (size_t o = 0; o < op.outputs.size(); ++o) {
      for (size_t i = 0; i < op.inputs.size(); ++i) CheckPair(op, o, i);
      for (size_t other = 0; other < o; ++other) {
        if (RangeOf(op.outputs[o]).Meets(RangeOf(op.outputs[other])) && IsPlanned(RangeOf(op.outputs[o]))) {
          Complain(op.outputs[o], "shares bytes with another result");
        }
      }
      CheckWorkspaceIsApart(op.outputs[o]);
      Write(op.outputs[o], program_.StorageOf(op.outputs[o]), "result");
    }
  }

  // A result may lie where an input lies only if the op says so, and then exactly there.
  void CheckPair(const Op& op, size_t o, size_t i) {
    if (op.inputs[i] == kNoValue) return;
    const Range result = RangeOf(op.outputs[o]), input = RangeOf(op.inputs[i]);
    if (!IsPlanned(result) || !result.Meets(input)) return;
    const int allowed = Definition(op.kind).overwrites;
    const bool same = result.begin == input.begin && result.end == input.end;
    // Another name of the same elements is as good as the input itself.
    if (o == 0 && same && allowed >= 0 &&
        program_.StorageOf(op.inputs[i]) == program_.StorageOf(op.inputs[allowed])) {
      return;
    }
    Complain(op.outputs[o], absl::StrCat("is written over input ", i));
  }

  void TakeWorkspace(const Op& op, int64_t offset) {
    workspace_ = {MemoryKind::kTransient, offset, offset + WorkspaceBytesOf(op)};
    std::vector<int32_t>& owners = memory_.at(MemoryKind::kTransient);
    if (workspace_.end > owners.size()) {
      violations_.push_back(absl::StrCat(where_, ": the workspace lies beyond its memory"));
      return;
    }
    std::fill(owners.begin() + workspace_.begin, owners.begin() + workspace_.end, kWorkspace);
  }

  void CheckWorkspaceIsApart(ValueId result) {
    if (RangeOf(result).Meets(workspace_)) Complain(result, "lies in its op's workspace");
  }

  int64_t WorkspaceBytesOf(const Op& op) const {
    if (Definition(op.kind).communicates) return 0;
    const KernelEntry& kernel = device_.kernel(op.kind);
    if (kernel.workspace_bytes == nullptr) return 0;
    std::vector<View> inputs, outputs;
    for (ValueId id : op.inputs) inputs.push_back(ViewOf(id));
    for (ValueId id : op.outputs) outputs.push_back(ViewOf(id));
    return kernel.workspace_bytes(op, inputs, outputs, device_.num_threads());
  }

  View ViewOf(ValueId id) const {
    if (id == kNoValue) return {};
    return {nullptr, program_.value(id).dtype, program_.value(id).shape};
  }

  const Program& program_;
  const MemoryPlan& plan_;
  const Device& device_;
  std::map<MemoryKind, std::vector<int32_t>> memory_;  // the owner of each byte
  Range workspace_;
  std::string where_;
  std::vector<std::string> violations_;
};

}  // namespace

std::vector<std::string> MemoryViolations(const Program& program, const MemoryPlan& plan,
                                          const Device& device) {
  return PaperRun(program, plan, device).Run();
}

}  // namespace trireme
