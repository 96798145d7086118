// Pipeline schedules as data: what each stage computes, in which order, and where messages start and are
// waited for. Pure functions of (stages, micro-batches): a schedule can be printed, simulated and tested
// without a rank.
#ifndef TRIREME_PARALLEL_SCHEDULE_H_
#define TRIREME_PARALLEL_SCHEDULE_H_

#include <string>
#include <vector>

namespace trireme {

// One piece of computing of a stage. A chunk is one of the stage's shares of the model: the order of the
// model is chunk 0 of all stages, then chunk 1 of all stages, ... A schedule has, of each (chunk,
// micro-batch), either backward, or backward_input and later backward_weight, or no backward at all.
struct Work {
  enum Kind { kForward, kBackward, kBackwardInput, kBackwardWeight };

  Kind kind = Kind::kForward;
  int chunk = 0;
  int micro_batch = 0;

  bool is_forward() const { return kind == kForward; }
  bool operator==(const Work&) const = default;
};

// "F3", "B3", "I3", "W3"; with a chunk above 0: "F3.1".
std::string ToString(const Work& work);

// kGPipe: all forwards, then all backwards; every micro-batch is in flight. Source: arXiv:1811.06965.
// k1F1B: stage s of p runs p - 1 - s forwards ahead, then alternates; min(m, p - s) are in flight. Same
// bubble,
//   (p - 1) / (m + p - 1). Source: arXiv:1806.03377 (PipeDream), its flushed form arXiv:2006.09503.
// kForwardOnly: evaluation.
enum class ScheduleKind { kGPipe, k1F1B, kForwardOnly };

// "gpipe", "1f1b", "forward_only".
const char* Name(ScheduleKind kind);

// A stage's place in the pipeline.
struct PipelinePlace {
  int stage = 0;
  int num_stages = 1;
  int num_chunks = 1;  // of every stage; above 1 only where there are several stages
};

// What `stage` computes in one step of `num_micro_batches`, in order. These kinds have one chunk a stage.
std::vector<Work> Schedule(ScheduleKind kind, int num_stages, int stage, int num_micro_batches);

// Interleaved 1F1B with place.num_chunks chunks a stage, two or more, on two stages or more. Stage s of p
// with v chunks runs 2 (p - 1 - s) + (v - 1) p forwards ahead. Bubble (p - 1) / (v m + p - 1) where p divides
// m; otherwise the step is no longer than with m rounded up. Source: arXiv:2104.04473.
std::vector<Work> InterleavedSchedule(const PipelinePlace& place, int num_micro_batches);

// 1F1B whose backward is split; the weights' part of `stage` micro-batches waits to fill the end of the step.
// min(m, p) are in flight on every stage. Idle a stage for m >= p, where forward, backward_input and
// backward_weight take the same time: p - 1 of them. Source: arXiv:2401.10241 (ZB-H1).
std::vector<Work> ZeroBubbleH1Schedule(int num_stages, int stage, int num_micro_batches);

// The stage that a piece of work gets its input from, or sends its output to; -1 for none: the ends of the
// model, and backward_weight. Forward work exchanges activations, backward work their gradients; the two
// never share a channel.
int ReceivesFrom(const Work& work, const PipelinePlace& place);
int SendsTo(const Work& work, const PipelinePlace& place);

// The work on the stage SendsTo(work, place) that takes what `work` sends; backward as kBackward.
Work Consumer(const Work& work, const PipelinePlace& place);

// An entry of a stage's list once messages stand in it. `work` is the one of this stage that the message
// feeds (for the receive entries) or comes from (for the send entries).
struct PipelineEntry {
  enum class Kind { kStartReceive, kWaitReceive, kCompute, kStartSend, kWaitSend };

  Kind kind = Kind::kCompute;
  Work work;

  bool operator==(const PipelineEntry&) const = default;
};

// "start_receive F3".
std::string ToString(const PipelineEntry& entry);

// Adds the messages. A receive starts before the computing of the work ahead of it, so that it travels
// meanwhile. A send is waited for before the next one of its direction starts, and at the end of the step.
std::vector<PipelineEntry> WithMessages(const std::vector<Work>& work, const PipelinePlace& place);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_SCHEDULE_H_
