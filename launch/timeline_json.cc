#include "launch/timeline_json.h"

#include <cmath>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/op_table.h"

namespace trireme {
namespace {

const char* PhaseOf(const Segment& segment, const Op* op) {
  if (op != nullptr && op->recomputed) return "recompute";
  return segment.region == Region::kUpdate ? "optimizer" : Name(segment.region);
}

bool WithPeer(Message message) {
  return message == Message::kSend || message == Message::kReceive;
}

// The rows of one process, in the order in which they were first used, but for those that all have.
class TimelineRows {
 public:
  static constexpr int kCompute = 1;
  static constexpr int kHost = 2;

  // A row of the channel that is free from `begin` on, taken until `end`, in nanoseconds. Asked by ascending
  // `begin`.
  int Take(const std::string& channel, int64_t begin, int64_t end) {
    std::vector<Lane>& lanes = channels_[channel];
    for (Lane& lane : lanes) {
      if (lane.free_from > begin) continue;
      lane.free_from = end;
      return lane.row;
    }
    const int row = kHost + 1 + static_cast<int>(names_.size());
    names_.push_back(lanes.empty() ? channel : absl::StrCat(channel, " (", lanes.size() + 1, ")"));
    lanes.push_back({row, end});
    return row;
  }

  std::string NamesJson(int pid) const {
    std::string text = absl::StrCat(NameJson(pid, kCompute, "compute"), ",\n", NameJson(pid, kHost, "host"));
    for (size_t i = 0; i < names_.size(); ++i) {
      absl::StrAppend(&text, ",\n", NameJson(pid, kHost + 1 + static_cast<int>(i), names_[i]));
    }
    return text;
  }

 private:
  struct Lane {
    int row;
    int64_t free_from;
  };

  static std::string NameJson(int pid, int row, const std::string& name) {
    return absl::StrFormat(
        R"({"name":"thread_name","ph":"M","pid":%d,"tid":%d,"args":{"name":"%s"}},)"
        "\n"
        R"({"name":"thread_sort_index","ph":"M","pid":%d,"tid":%d,"args":{"sort_index":%d}})",
        pid, row, name, pid, row, row);
  }

  std::map<std::string, std::vector<Lane>> channels_;
  std::vector<std::string> names_;
};

class TimelineText {
 public:
  TimelineText(const Timeline& timeline, const TimelineProcess& process)
      : plan_(timeline.plan()), process_(process) {
    for (const TimelineEvent& event : timeline.events()) Add(event);
  }

  std::string Json() const {
    const int pid = process_.rank;
    return absl::StrCat(
        absl::StrFormat(R"({"name":"process_name","ph":"M","pid":%d,"args":{"name":"rank %d: %s"}},)"
                        "\n"
                        R"({"name":"process_sort_index","ph":"M","pid":%d,"args":{"sort_index":%d}},)"
                        "\n",
                        pid, pid, process_.name, pid, pid),
        rows_.NamesJson(pid), events_);
  }

 private:
  struct Span {
    int64_t begin;
    int64_t end;
  };

  Span SpanOf(const TimelineEvent& event) const {
    const auto nanoseconds = [&](double seconds) {
      return static_cast<int64_t>(std::llround((seconds - process_.origin_seconds) * 1e9));
    };
    const int64_t begin = nanoseconds(event.begin_seconds);
    return {begin, std::max(begin, nanoseconds(event.end_seconds))};
  }

  // Whole nanoseconds, so that what nests in time nests in text.
  void Write(const std::string& name, const char* category, int row, Span span,
             const std::string& arguments) {
    const auto microseconds = [](int64_t ns) {
      return absl::StrFormat("%s%d.%03d", ns < 0 ? "-" : "", std::abs(ns) / 1000, std::abs(ns) % 1000);
    };
    absl::StrAppend(&events_, ",\n{\"name\":\"", name, "\",\"cat\":\"", category,
                    "\",\"ph\":\"X\",\"pid\":", process_.rank, ",\"tid\":", row,
                    ",\"ts\":", microseconds(span.begin), ",\"dur\":", microseconds(span.end - span.begin),
                    ",\"args\":{", arguments, "}}");
  }

  void Add(const TimelineEvent& event) {
    const Span span = SpanOf(event);
    std::string arguments = absl::StrCat("\"step\":", event.step);
    if (event.entry < 0) {
      Write(absl::StrCat("step ", event.step), "step", TimelineRows::kHost, span, arguments);
      return;
    }
    const StepEntry& entry = plan_.entries[event.entry];
    if (entry.micro_batch >= 0) absl::StrAppend(&arguments, ",\"micro_batch\":", entry.micro_batch);
    switch (entry.kind) {
      case StepKind::kLoad:
        return Write("load", "host", TimelineRows::kHost, span, arguments);
      case StepKind::kRun:
        return AddRun(entry, event.op, span, arguments);
      case StepKind::kStart:
        return AddMessage(entry, span, arguments);
      case StepKind::kWait: {
        const StepEntry& started = plan_.entries[entry.started];
        return Write(absl::StrCat("wait for ", Name(started.message)), "wait", TimelineRows::kCompute, span,
                     absl::StrCat(arguments, ",\"channel\":\"", plan_.channels[started.channel], "\""));
      }
      case StepKind::kLoss:
        return Write("loss to host", "copy", TimelineRows::kCompute, span, arguments);
      case StepKind::kHandOver:
        return Write("hand over", "copy", TimelineRows::kCompute, span, arguments);
    }
  }

  void AddRun(const StepEntry& entry, int index, Span span, const std::string& common) {
    const Program& program = *plan_.programs[entry.program];
    const Segment& segment = program.segments[entry.segment];
    const Op* op = index >= 0 ? &segment.ops[index] : nullptr;
    std::string arguments = absl::StrCat(common, ",\"phase\":\"", PhaseOf(segment, op), "\",\"block\":\"",
                                         segment.name, "\",\"program\":", entry.program);
    if (op == nullptr) {
      const std::string name = segment.region == Region::kUpdate
                                   ? segment.name
                                   : absl::StrCat(Name(segment.region), " ", segment.name);
      return Write(name, "segment", TimelineRows::kCompute, span, arguments);
    }
    absl::StrAppend(&arguments, ",\"op\":", index);
    if (!Definition(op->kind).communicates) {
      return Write(Name(op->kind), "op", TimelineRows::kCompute, span, arguments);
    }
    if (op->kind == OpKind::kAwaitShift) {
      return Write("wait for Shift", "wait", TimelineRows::kCompute, span, arguments);
    }
    // How many rows travel to experts is not in the plan, but the most is.
    const bool is_bound = op->kind == OpKind::kDispatchRows || op->kind == OpKind::kReturnRows;
    absl::StrAppend(&arguments, is_bound ? ",\"bytes_at_most\":" : ",\"bytes\":",
                    program.value(op->inputs[0]).size_bytes());
    const int row = rows_.Take(Name(op->attributes.AxisOf("axis")), span.begin, span.end);
    Write(Name(op->kind), "collective", row, span, arguments);
  }

  void AddMessage(const StepEntry& entry, Span span, std::string arguments) {
    const Value& value = plan_.programs[entry.program]->value(entry.in != kNoValue ? entry.in : entry.out);
    absl::StrAppend(&arguments, ",\"value\":\"", value.name, "\",\"bytes\":", value.size_bytes());
    if (WithPeer(entry.message)) absl::StrAppend(&arguments, ",\"peer\":", entry.peer);
    const int row = rows_.Take(plan_.channels[entry.channel], span.begin, span.end);
    Write(Name(entry.message), "message", row, span, arguments);
  }

  const StepPlan& plan_;
  const TimelineProcess& process_;
  TimelineRows rows_;
  std::string events_;
};

}  // namespace

std::string TimelineJson(const Timeline& timeline, const TimelineProcess& process) {
  return TimelineText(timeline, process).Json();
}

}  // namespace trireme
