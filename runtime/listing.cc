// Program::ToString: the listing that `trireme explain` prints and golden files hold.
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/op_table.h"
#include "runtime/program.h"

namespace trireme {
namespace {

std::string Reference(const Program& program, ValueId id) {
  if (id == kNoValue) return "-";
  return absl::StrCat("%", id, ":", program.values[id].name);
}

// "%7:x f32[32, 48] S0.S0.I", and where it shares storage, of what.
std::string Description(const Program& program, ValueId id) {
  const Value& value = program.values[id];
  std::string text = absl::StrCat(Reference(program, id), " ", Name(value.dtype), value.shape.ToString(), " ",
                                  value.layout.ToString());
  if (value.base != kNoValue) absl::StrAppend(&text, " in %", value.base, "+", value.offset);
  return text;
}

std::string OpLine(const Program& program, const Op& op) {
  std::string results;
  int64_t bytes = 0;
  for (ValueId id : op.outputs) {
    absl::StrAppend(&results, results.empty() ? "" : ", ", Description(program, id));
    bytes += program.values[id].size_bytes();
  }
  std::string operands;
  for (ValueId id : op.inputs) {
    absl::StrAppend(&operands, operands.empty() ? "" : ", ", Reference(program, id));
    if (id != kNoValue) bytes += program.values[id].size_bytes();
  }
  std::string line =
      absl::StrCat("  ", results, " = ", Name(op.kind), "(", operands, ")", op.attributes.ToString());
  absl::StrAppend(&line, "  # ", bytes, " B");
  if (op.flops > 0) absl::StrAppendFormat(&line, ", %.0f FLOP", op.flops);
  if (op.always_accumulates) absl::StrAppend(&line, ", adds");
  if (op.recomputed) absl::StrAppend(&line, ", again");
  if (Definition(op.kind).communicates) absl::StrAppend(&line, ", COMMUNICATES");
  return line;
}

}  // namespace

std::string Program::ToString() const {
  std::string text;
  for (const ParameterGroup& group : parameters) {
    absl::StrAppend(&text, "parameter ", Description(*this, group.value), " of");
    for (const Parameter& part : group.parts) {
      absl::StrAppend(&text, " ", part.name, part.global_shape.ToString());
    }
    absl::StrAppend(&text, "\n");
  }
  for (ValueId id = 0; id < values.size(); ++id) {
    if (values[id].kind == ValueKind::kInput) absl::StrAppend(&text, "input ", Description(*this, id), "\n");
    if (values[id].kind == ValueKind::kReceived) {
      absl::StrAppend(&text, "receive ", Description(*this, id), "\n");
    }
    if (values[id].kind == ValueKind::kState) absl::StrAppend(&text, "state ", Description(*this, id), "\n");
  }
  for (const Segment& segment : segments) {
    absl::StrAppend(&text, Name(segment.region), " ", segment.name, "\n");
    for (const Op& op : segment.ops) absl::StrAppend(&text, OpLine(*this, op), "\n");
  }
  if (stage_output != kNoValue) absl::StrAppend(&text, "send ", Description(*this, stage_output), "\n");
  if (stage_input_gradient != kNoValue) {
    absl::StrAppend(&text, "send ", Description(*this, stage_input_gradient), "\n");
  }
  return text;
}

}  // namespace trireme
