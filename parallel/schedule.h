// Pipeline schedules as data: what each stage computes, in which order, and where messages start and are
// waited for. Pure functions of (stages, micro-batches): a schedule can be printed, simulated and tested
// without a rank.
#ifndef TRIREME_PARALLEL_SCHEDULE_H_
#define TRIREME_PARALLEL_SCHEDULE_H_

#include <string>
#include <vector>

namespace trireme {

// One piece of computing of a stage. A chunk is one of the stage's shares of the model; PipelinePlace says
// where in the model. A schedule has, of each (chunk, micro-batch), either backward, or backward_input and
// later backward_weight, or no backward at all.
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

// Below: p stages, v chunks of each, m micro-batches of a step.
//
// k1F1B: stage s runs p - 1 - s forwards ahead, then alternates; min(m, p - s) are in flight. Source:
//   arXiv:1806.03377 (PipeDream), its flushed form arXiv:2006.09503.
// kGPipe: all forwards, then all backwards; every micro-batch is in flight. Source: arXiv:1811.06965.
// kInterleaved: 1F1B with v >= 2 chunks a stage; stage s runs 2 (p - 1 - s) + (v - 1) p forwards ahead. Where
// p
//   does not divide m, the step is no longer than with m rounded up. Source: arXiv:2104.04473.
// kZeroBubbleH1: 1F1B whose backward is split; the weights' part of `stage` micro-batches waits to fill the
// end
//   of the step. min(m, p) are in flight on every stage. Source: arXiv:2401.10241 (ZB-H1).
// kZeroBubbleV: two chunks a stage, of which the second runs from the last stage to the first; the weights'
//   parts fill what is idle. At most 2 p chunks are in flight, as much as 1F1B's first stage keeps. The
//   placement and the bound are those of arXiv:2401.10241 (ZB-V); the order is a greedy one of ours.
enum class ScheduleKind { k1F1B, kGPipe, kInterleaved, kZeroBubbleH1, kZeroBubbleV };
inline constexpr ScheduleKind kAllSchedules[] = {ScheduleKind::k1F1B, ScheduleKind::kGPipe,
                                                 ScheduleKind::kInterleaved, ScheduleKind::kZeroBubbleH1,
                                                 ScheduleKind::kZeroBubbleV};

// "1f1b", "gpipe", "interleaved", "zb-h1", "zb-v": as in pipeline.schedule.
const char* Name(ScheduleKind kind);
// Aborts for a name that is none of these.
ScheduleKind ScheduleNamed(const std::string& name);
// Whether the weights' part of backward is work of its own.
bool SplitsBackward(ScheduleKind kind);

// A stage's place in the pipeline, and its chunks' places in the model. The positions 0 to p v - 1 are the
// chunks in the order of the model.
struct PipelinePlace {
  int stage = 0;
  int num_stages = 1;
  int num_chunks = 1;  // of every stage
  // Whether odd chunks run from the last stage to the first (a V); otherwise the model passes all stages in
  // order, chunk after chunk.
  bool turns = false;

  int num_positions() const { return num_stages * num_chunks; }
  int PositionOf(int chunk) const;
  int StageAt(int position) const;
  // Whether the chunk runs against the order of the stages.
  bool IsTurned(int chunk) const { return turns && chunk % 2 == 1; }
};

// `virtual_stages`: the chunks of a stage where the kind leaves a choice (kInterleaved); else not looked at.
PipelinePlace PlaceIn(ScheduleKind kind, int num_stages, int stage, int virtual_stages);

// What a stage computes in one step of `num_micro_batches`, in order. `place` is one of PlaceIn(kind, ...).
std::vector<Work> Schedule(ScheduleKind kind, const PipelinePlace& place, int num_micro_batches);
// Of all stages.
std::vector<std::vector<Work>> ScheduleOfAllStages(ScheduleKind kind, int num_stages, int virtual_stages,
                                                   int num_micro_batches);

// The forwards alone, for evaluation. They depend on forwards only, so what could not deadlock still cannot.
std::vector<Work> ForwardsOf(std::vector<Work> schedule);

// The stage that a piece of work gets its input from, or sends its output to; -1 for none: the ends of the
// model, backward_weight, and chunks of the same stage that follow each other. Forward work exchanges
// activations, backward work their gradients; the two never share a channel.
int ReceivesFrom(const Work& work, const PipelinePlace& place);
int SendsTo(const Work& work, const PipelinePlace& place);

// Whether the chunk that gives `work` its input, or takes its output, is one of the same stage.
bool TakesFromSameStage(const Work& work, const PipelinePlace& place);
bool GivesToSameStage(const Work& work, const PipelinePlace& place);

// The work that takes what `work` sends or gives, on whichever stage; backward as kBackward.
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
// meanwhile. A send is waited for before the next one of its channel starts, and at the end of the step.
std::vector<PipelineEntry> WithMessages(const std::vector<Work>& work, const PipelinePlace& place);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_SCHEDULE_H_
