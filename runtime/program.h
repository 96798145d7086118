// A Program: one pipeline chunk's model for one micro-batch, as a flat list of ops over values. It is
// recorded once, then differentiated, rewritten by passes, planned, listed and executed; nothing in it
// touches data or a device.
#ifndef TRIREME_RUNTIME_PROGRAM_H_
#define TRIREME_RUNTIME_PROGRAM_H_

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/types/span.h"
#include "runtime/axis.h"
#include "runtime/dtype.h"
#include "runtime/layout.h"
#include "runtime/op_kind.h"
#include "runtime/parameter.h"
#include "runtime/shape.h"

namespace trireme {

using ValueId = int32_t;
inline constexpr ValueId kNoValue = -1;

// Who writes a value, and for how long it lives.
enum class ValueKind : uint8_t {
  kResult,             // an op of this program
  kInput,              // the caller, anew for every micro-batch: ids, labels, positions
  kReceived,           // the neighbouring stage: a stage's input, or the gradient of its output
  kParameter,          // persistent; the compute copy of a parameter group
  kParameterGradient,  // persistent; written in place, added to by every micro-batch of a step
  kState,              // persistent and bound by the caller: optimiser state, step scalars
};

struct Value {
  std::string name;
  ValueKind kind = ValueKind::kResult;
  DType dtype = DType::kF32;
  Shape shape;  // on this rank
  Layout layout;
  // A window: this value is storage of `base`, from element `offset` on (whole rows). kNoValue: storage of
  // its own.
  ValueId base = kNoValue;
  int64_t offset = 0;
  // Whether anything that trains lies upstream: only then a gradient flows through it.
  bool requires_gradient = false;

  int64_t size_bytes() const { return shape.num_elements() * SizeOf(dtype); }
};

// What an op is told besides its operands: a few named numbers.
class Attributes {
 public:
  using Number = std::variant<int64_t, double>;

  Attributes() = default;
  Attributes(std::initializer_list<std::pair<const char*, Number>> entries) : entries_(entries) {}

  // Asking for a name that is not there, or as the other type, is a bug and aborts.
  int64_t Int(const char* name) const;
  double Float(const char* name) const;
  Axis AxisOf(const char* name) const { return static_cast<Axis>(Int(name)); }

  // " eps=1e-05 heads=4".
  std::string ToString() const;

 private:
  std::vector<std::pair<const char*, Number>> entries_;
};

struct Op {
  OpKind kind;
  std::vector<ValueId> inputs;  // kNoValue where an optional operand is absent
  std::vector<ValueId> outputs;
  Attributes attributes;
  double flops = 0;  // matrix products only, on this rank
  // For an op that adds into a parameter gradient: true where another op of this program wrote it earlier.
  // The first writer overwrites in a step's first micro-batch and adds in all later ones.
  bool always_accumulates = false;
  bool recomputed = false;  // a copy of a forward op, made by the recompute pass
};

// kBackwardWeight: what only parameter gradients need, where the split pass has taken it out of kBackward.
enum class Region : uint8_t { kForward, kBackward, kBackwardWeight, kUpdate };
constexpr const char* Name(Region region) {
  constexpr const char* kNames[] = {"forward", "backward", "backward_weight", "update"};
  return kNames[static_cast<int>(region)];
}

// The unit that is executed, timed and captured: a block, the embedding, the head.
struct Segment {
  std::string name;
  Region region = Region::kForward;
  int forward_of = -1;  // for a backward segment: the index of its forward segment
  std::vector<Op> ops;
};

// Parameters that lie next to each other in one value, stacked along dim 0: one product reads them all.
struct ParameterGroup {
  ValueId value = kNoValue;
  ValueId gradient = kNoValue;  // set by differentiation
  int segment = 0;              // the first forward segment that uses it
  std::vector<Parameter> parts;

  // The parts that the rank at `coordinate` holds a share of: all, or where ep shards the group, its
  // experts'.
  absl::Span<const Parameter> PartsAt(const AxisSizes& coordinate, const AxisSizes& mesh) const;
};

struct Program {
  std::vector<Value> values;
  std::vector<Segment> segments;  // all forward ones in order, then the backward ones in order of execution
  std::vector<ParameterGroup> parameters;

  // The borders of a pipeline stage; kNoValue at the ends of the pipeline.
  ValueId stage_input = kNoValue;            // received in forward
  ValueId stage_output = kNoValue;           // sent in forward
  ValueId stage_input_gradient = kNoValue;   // sent in backward
  ValueId stage_output_gradient = kNoValue;  // received in backward

  // Values whose elements, added up, are the training objective; and their sums,
  // f64 [terms]: the loss, and what a loss of several columns has besides (ops/cross_entropy.h).
  std::vector<ValueId> roots;
  ValueId loss_sum = kNoValue;
  // Added to the objective, but not to the loss that is reported: balance losses. They may live on any stage.
  std::vector<ValueId> auxiliary_roots;
  // State, i64 [1]: of this rank's tokens, the choices of experts that were dropped. Every run adds to it.
  ValueId dropped_choices = kNoValue;
  // Where parameter gradients are added on a grid: the state that says one did not fit it
  // (passes/grid_gradients.h).
  ValueId grid_overflow = kNoValue;
  // Logits of the last token of each sequence, in programs recorded for generation.
  ValueId logits = kNoValue;

  const Value& value(ValueId id) const { return values[id]; }
  // The value whose storage `id` lives in.
  ValueId StorageOf(ValueId id) const;
  // The offset of `id` in that storage, in elements.
  int64_t OffsetInStorage(ValueId id) const;
  // The input by this name, or kNoValue.
  ValueId FindInput(const std::string& name) const;
  // Matrix-product FLOPs of all ops that are not recomputed.
  double MathematicalFlops() const;

  // A listing for people and golden files: a line an op with its values' dtype, shape and layout, bytes and
  // axis of communication.
  std::string ToString() const;
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PROGRAM_H_
