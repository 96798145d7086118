#include "runtime/program.h"

#include <glog/logging.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace trireme {
namespace {

const Attributes::Number& Find(const std::vector<std::pair<const char*, Attributes::Number>>& entries,
                               const char* name) {
  for (const auto& [key, number] : entries) {
    if (std::string_view(key) == name) return number;
  }
  LOG(FATAL) << "an op lacks the attribute " << name;
}

}  // namespace

absl::Span<const Parameter> ParameterGroup::PartsAt(const AxisSizes& coordinate,
                                                    const AxisSizes& mesh) const {
  if (parts[0].layout[Axis::kEp] != Shard(0)) return parts;
  const size_t share = parts.size() / mesh[Axis::kEp];
  return absl::MakeConstSpan(parts).subspan(CoordinateAlong(Axis::kEp, coordinate, mesh) * share, share);
}

int64_t Attributes::Int(const char* name) const {
  const Number& number = Find(entries_, name);
  CHECK(std::holds_alternative<int64_t>(number)) << "attribute " << name << " is no integer";
  return std::get<int64_t>(number);
}

double Attributes::Float(const char* name) const {
  const Number& number = Find(entries_, name);
  CHECK(std::holds_alternative<double>(number)) << "attribute " << name << " is no float";
  return std::get<double>(number);
}

std::string Attributes::ToString() const {
  std::string text;
  for (const auto& [name, number] : entries_) {
    if (std::string_view(name) == "axis") {
      absl::StrAppend(&text, " axis=", Name(static_cast<Axis>(std::get<int64_t>(number))));
    } else if (std::holds_alternative<int64_t>(number)) {
      absl::StrAppend(&text, " ", name, "=", std::get<int64_t>(number));
    } else {
      absl::StrAppendFormat(&text, " %s=%g", name, std::get<double>(number));
    }
  }
  return text;
}

ValueId Program::StorageOf(ValueId id) const {
  while (values[id].base != kNoValue) id = values[id].base;
  return id;
}

int64_t Program::OffsetInStorage(ValueId id) const {
  int64_t offset = 0;
  for (; values[id].base != kNoValue; id = values[id].base) offset += values[id].offset;
  return offset;
}

ValueId Program::FindInput(const std::string& name) const {
  for (int i = 0; i < values.size(); ++i) {
    if (values[i].kind == ValueKind::kInput && values[i].name == name) return i;
  }
  return kNoValue;
}

double Program::MathematicalFlops() const {
  double flops = 0;
  for (const Segment& segment : segments) {
    for (const Op& op : segment.ops) flops += op.recomputed ? 0 : op.flops;
  }
  return flops;
}

}  // namespace trireme
