// One rank's whole step as one flat list: what runs, on which micro-batch and slot, and every message, as a
// start and a wait. It is made before the first step, and is what is executed, printed and drawn.
#ifndef TRIREME_RUNTIME_STEP_PLAN_H_
#define TRIREME_RUNTIME_STEP_PLAN_H_

#include <string>
#include <vector>

#include "runtime/passes/memory_plan.h"
#include "runtime/program.h"

namespace trireme {

enum class StepKind : uint8_t {
  kLoad,      // the host fills the program's inputs for a micro-batch
  kRun,       // a segment
  kStart,     // a message or collective begins; its buffers belong to it until its wait
  kWait,      // blocks until the start named is done
  kLoss,      // the micro-batch's loss sum goes to the loss table
  kHandOver,  // a value is copied from one program's slot into another's: chunks of one stage
};

enum class Message : uint8_t { kSend, kReceive, kAllReduce, kReduceScatter, kAllGather };
constexpr const char* Name(Message message) {
  constexpr const char* kNames[] = {"send", "receive", "all-reduce", "reduce-scatter", "all-gather"};
  return kNames[static_cast<int>(message)];
}

struct StepEntry {
  StepKind kind = StepKind::kRun;
  int program = 0;
  int segment = -1;      // kRun
  int micro_batch = -1;  // kLoad, kRun, kLoss, and kStart of the pipeline's messages
  int slot = 0;
  bool accumulates = false;          // kRun in backward: parameter gradients are added to, not overwritten
  Message message = Message::kSend;  // kStart
  ValueId in = kNoValue;             // kStart: what is sent or reduced; kHandOver: a value of from_program
  ValueId out = kNoValue;            // kStart: what is received; kHandOver: a value of program
  int from_program = -1;             // kHandOver
  int from_slot = -1;                // kHandOver
  int channel = -1;                  // kStart: index into StepPlan::channels
  int peer = -1;                     // kStart of kSend and kReceive: rank in the channel
  int started = -1;                  // kWait: index of the entry that started it
};

struct StepPlan {
  // Not owned; the same for every step.
  std::vector<const Program*> programs;
  std::vector<std::string> channels;  // names: "dp", "to next stage"
  std::vector<StepEntry> entries;
  int num_slots = 1;
  int num_micro_batches = 1;

  // A value whose memory others use too is there from one entry to another, both included; it may come and go
  // many times.
  struct Residence {
    int program;
    ValueId value;
    int begin;
    int end;
  };
  std::vector<Residence> residences;
  // By program: the parameter gradients that every micro-batch overwrites, because what the one before wrote
  // has been reduced. StepEntry::accumulates is not about them.
  std::vector<std::vector<ValueId>> passing_gradients;

  // A listing, a line an entry; and one of its entries.
  std::string ToString() const;
  std::string EntryText(int entry) const;
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_STEP_PLAN_H_
