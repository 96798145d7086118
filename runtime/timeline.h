// When one rank did what, in some of its steps: filled by the executor, an event for each entry of the step
// plan and each op in it. What an event is about stands in the plan, so an event is small and recording one
// allocates nothing. Who does not trace has no Timeline, and pays a comparison with nullptr an op.
#ifndef TRIREME_RUNTIME_TIMELINE_H_
#define TRIREME_RUNTIME_TIMELINE_H_

#include <utility>
#include <vector>

#include "runtime/device.h"
#include "runtime/step_plan.h"

namespace trireme {

struct TimelineEvent {
  int64_t step = 0;
  int entry = -1;  // of the plan; -1: the step as a whole, on the host
  int op = -1;     // of the entry's segment; -1: the entry itself
  // As NowSeconds() counts. On a GPU those of the device, but for loads and whole steps, which are the
  // host's.
  double begin_seconds = 0;
  double end_seconds = 0;
};

// Of a message (kStart) the event lasts from its start until it is complete; on the host, which does not
// learn that earlier, until it has been waited for. The wait has an event of its own.
class Timeline {
 public:
  // Room for `num_steps` steps. `plan` and `device` must outlive it.
  Timeline(const StepPlan& plan, Device& device, int64_t num_steps);

  // Events of one step of `plan`, the step itself included.
  static int64_t EventsOfStep(const StepPlan& plan);

  // Around a step. EndStep waits for the device.
  void BeginStep(int64_t step);
  void EndStep();

  // Around an entry of the plan, and around each op within it. `stream`: which a message's end is seen on.
  void Begin(int entry);
  void End(int entry, StreamId stream = 0);
  // BeginOp names its event. EndOp's `stream`: which the op's end is seen on. An op that only starts a
  // message is done when that has been waited for, which Awaited says.
  size_t BeginOp(int op);
  void EndOp(StreamId stream = 0);
  void Awaited(size_t begun);

  const StepPlan& plan() const { return plan_; }
  const std::vector<TimelineEvent>& events() const { return events_; }

 private:
  // Where the device's clock has not been read yet, the times of an event are marks of it.
  struct Marks {
    size_t event;
    TimeMark begin;
    TimeMark end;
  };

  size_t Add(int entry, int op);

  const StepPlan& plan_;
  Device& device_;
  int64_t step_ = 0;
  std::vector<TimelineEvent> events_;
  std::vector<Marks> marks_;      // of the step under way
  std::vector<size_t> messages_;  // by entry: where in marks_ the message is that it started
  size_t step_event_ = 0;
  size_t entry_event_ = 0;  // a load's in events_, others' in marks_
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_TIMELINE_H_
