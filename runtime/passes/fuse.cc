#include "runtime/passes/fuse.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace trireme {
namespace {

// The fused kind of a norm or of its gradient; kCount for others.
OpKind NormAfterAdd(OpKind norm) {
  if (norm == OpKind::kRmsNorm) return OpKind::kAddRmsNorm;
  return norm == OpKind::kLayerNorm ? OpKind::kAddLayerNorm : OpKind::kCount;
}
OpKind GradBeforeAdd(OpKind grad) {
  if (grad == OpKind::kRmsNormGrad) return OpKind::kAddRmsNormGrad;
  return grad == OpKind::kLayerNormGrad ? OpKind::kAddLayerNormGrad : OpKind::kCount;
}

class Fusion {
 public:
  explicit Fusion(Program& program) : program_(program) {
    for (size_t s = 0; s < program.segments.size(); ++s) {
      for (Op& op : program.segments[s].ops) {
        ops_.push_back({&op, static_cast<int>(s)});
        for (ValueId input : op.inputs) {
          if (input != kNoValue) ++num_reads(input);
        }
      }
    }
  }

  void Run() {
    for (size_t at = 0; at < ops_.size(); ++at) {
      if (NormAfterAdd(ops_[at].op->kind) != OpKind::kCount) FuseWithAddBefore(at);
      if (GradBeforeAdd(ops_[at].op->kind) != OpKind::kCount) FuseWithAddAfter(at);
    }
    // What was fused away has no results any more.
    for (Segment& segment : program_.segments) {
      std::erase_if(segment.ops, [](const Op& op) { return op.outputs.empty(); });
    }
  }

 private:
  struct Place {
    Op* op;
    int segment;
  };

  int& num_reads(ValueId id) {
    num_reads_.resize(program_.values.size());
    return num_reads_[program_.StorageOf(id)];
  }
  bool IsStorage(ValueId id) const { return program_.value(id).base == kNoValue; }
  bool Reads(const Op& op, ValueId storage) const {
    return std::any_of(op.inputs.begin(), op.inputs.end(), [&](ValueId input) {
      return input != kNoValue && program_.StorageOf(input) == storage;
    });
  }
  static bool Writes(const Op& op, ValueId id) {
    return std::find(op.outputs.begin(), op.outputs.end(), id) != op.outputs.end();
  }
  // Whether an op may move from segment `from` to the later `to`.
  bool MayMove(int from, int to) const {
    return from == to || (program_.segments[from].region == Region::kForward &&
                          program_.segments[to].region == Region::kForward);
  }

  // Looks back from the norm for the addition, as far as nobody else reads the sum.
  void FuseWithAddBefore(size_t at) {
    Op& norm = *ops_[at].op;
    const ValueId sum = norm.inputs[0];
    if (!IsStorage(sum)) return;
    for (size_t i = at; i-- > 0 && MayMove(ops_[i].segment, ops_[at].segment);) {
      Op& add = *ops_[i].op;
      if (Writes(add, sum)) {
        if (add.kind == OpKind::kAdd && add.recomputed == norm.recomputed) Join(add, norm);
        return;
      }
      if (Reads(add, sum)) return;
    }
  }

  static void Join(Op& add, Op& norm) {
    norm.kind = NormAfterAdd(norm.kind);
    norm.inputs.front() = add.inputs[1];
    norm.inputs.insert(norm.inputs.begin(), add.inputs[0]);
    norm.outputs.insert(norm.outputs.begin(), add.outputs[0]);
    add = {.kind = OpKind::kAdd};
  }

  // Looks on from a norm's gradient for the addition that alone reads it. What it is added to must be there
  // already.
  void FuseWithAddAfter(size_t at) {
    Op& grad = *ops_[at].op;
    const ValueId own = grad.outputs[0];
    if (!IsStorage(own) || num_reads(own) != 1 || own == program_.stage_input_gradient) return;
    std::vector<ValueId> written;
    for (size_t i = at + 1; i < ops_.size() && ops_[i].segment == ops_[at].segment; ++i) {
      Op& add = *ops_[i].op;
      if (Reads(add, own)) {
        if (add.kind != OpKind::kAdd) return;
        const ValueId stream = add.inputs[0] == own ? add.inputs[1] : add.inputs[0];
        if (std::find(written.begin(), written.end(), program_.StorageOf(stream)) != written.end()) return;
        grad.kind = GradBeforeAdd(grad.kind);
        grad.inputs.push_back(stream);
        grad.outputs[0] = add.outputs[0];
        add = {.kind = OpKind::kAdd};
        return;
      }
      for (ValueId output : add.outputs) written.push_back(program_.StorageOf(output));
    }
  }

  Program& program_;
  std::vector<Place> ops_;
  std::vector<int> num_reads_;  // by storage
};

}  // namespace

void FusePass(Program& program) {
  Fusion(program).Run();
}

}  // namespace trireme
