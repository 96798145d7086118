#include "runtime/step_plan.h"

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

std::string ValueText(const Program& program, ValueId id) {
  const Value& value = program.value(id);
  return absl::StrCat("%", id, ":", value.name, " ", Name(value.dtype), value.shape.ToString());
}

std::string Where(const StepEntry& entry) {
  if (entry.micro_batch < 0) return "";
  return absl::StrCat("  micro-batch ", entry.micro_batch, " slot ", entry.slot);
}

std::string TextOf(const StepPlan& plan, const StepEntry& entry) {
  const Program& program = *plan.programs[entry.program];
  switch (entry.kind) {
    case StepKind::kLoad:
      return absl::StrCat("load  ", Where(entry));
    case StepKind::kRun: {
      const Segment& segment = program.segments[entry.segment];
      return absl::StrCat("run   ", Name(segment.region), " ", segment.name, Where(entry));
    }
    case StepKind::kStart: {
      std::string text = absl::StrCat("start ", Name(entry.message), " ");
      const ValueId shown = entry.in != kNoValue ? entry.in : entry.out;
      absl::StrAppend(&text, ValueText(program, shown), " on ", plan.channels[entry.channel]);
      if (entry.message != Message::kSend && entry.message != Message::kReceive) {
        absl::StrAppend(&text, " into ", ValueText(program, entry.out));
      }
      return absl::StrCat(text, ", ", program.value(shown).size_bytes(), " B", Where(entry));
    }
    case StepKind::kWait:
      return absl::StrCat("wait  for ", entry.started);
    case StepKind::kLoss:
      return absl::StrCat("loss  ", Where(entry));
    case StepKind::kHandOver:
      return absl::StrCat("hand  ", ValueText(*plan.programs[entry.from_program], entry.in), " of slot ",
                          entry.from_slot, " over to ", ValueText(program, entry.out), Where(entry));
  }
  return "?";
}

}  // namespace

std::string StepPlan::EntryText(int entry) const {
  return TextOf(*this, entries[entry]);
}

std::string StepPlan::ToString() const {
  std::vector<std::string> freed(entries.size());
  for (const Residence& residence : residences) {
    const Program& program = *programs[residence.program];
    absl::StrAppend(&freed[residence.end], ", frees %", residence.value, ":",
                    program.value(residence.value).name);
  }
  std::string text;
  for (size_t i = 0; i < entries.size(); ++i) {
    absl::StrAppend(&text, i, " ", EntryText(static_cast<int>(i)), freed[i], "\n");
  }
  return text;
}

}  // namespace trireme
