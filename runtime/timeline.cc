#include "runtime/timeline.h"

#include "runtime/clock.h"

namespace trireme {

Timeline::Timeline(const StepPlan& plan, Device& device, int64_t num_steps)
    : plan_(plan), device_(device), messages_(plan.entries.size(), 0) {
  events_.reserve(num_steps * EventsOfStep(plan));
  marks_.reserve(EventsOfStep(plan));
}

int64_t Timeline::EventsOfStep(const StepPlan& plan) {
  int64_t events = 1;
  for (const StepEntry& entry : plan.entries) {
    ++events;
    if (entry.kind == StepKind::kRun) {
      events += static_cast<int64_t>(plan.programs[entry.program]->segments[entry.segment].ops.size());
    }
  }
  return events;
}

void Timeline::BeginStep(int64_t step) {
  step_ = step;
  marks_.clear();
  device_.StartTiming();
  step_event_ = events_.size();
  events_.push_back({.step = step, .begin_seconds = NowSeconds()});
}

void Timeline::EndStep() {
  device_.Synchronize(0);
  events_[step_event_].end_seconds = NowSeconds();
  for (const Marks& marks : marks_) {
    events_[marks.event].begin_seconds = device_.SecondsAt(marks.begin);
    events_[marks.event].end_seconds = device_.SecondsAt(marks.end);
  }
}

size_t Timeline::Add(int entry, int op) {
  const TimeMark now = device_.MarkTime(0);
  marks_.push_back({events_.size(), now, now});
  events_.push_back({.step = step_, .entry = entry, .op = op});
  return marks_.size() - 1;
}

void Timeline::Begin(int entry) {
  const StepKind kind = plan_.entries[entry].kind;
  if (kind == StepKind::kLoad) {
    entry_event_ = events_.size();
    events_.push_back({.step = step_, .entry = entry, .begin_seconds = NowSeconds()});
    return;
  }
  entry_event_ = Add(entry, -1);
  if (kind == StepKind::kStart) messages_[entry] = entry_event_;
}

void Timeline::End(int entry, StreamId stream) {
  const StepEntry& ended = plan_.entries[entry];
  if (ended.kind == StepKind::kLoad) {
    events_[entry_event_].end_seconds = NowSeconds();
    return;
  }
  marks_[entry_event_].end = device_.MarkTime(stream);
  if (ended.kind == StepKind::kWait && device_.is_host()) {
    marks_[messages_[ended.started]].end = marks_[entry_event_].end;
  }
}

size_t Timeline::BeginOp(int op) {
  const int entry = events_[marks_[entry_event_].event].entry;
  return Add(entry, op);
}

void Timeline::EndOp(StreamId stream) {
  marks_.back().end = device_.MarkTime(stream);
}

void Timeline::Awaited(size_t begun) {
  if (device_.is_host()) marks_[begun].end = device_.MarkTime(0);  // a GPU's stream knows better
}

}  // namespace trireme
