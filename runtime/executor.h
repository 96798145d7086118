// Walks a StepPlan: binds every operand to its address once, then only runs kernels and moves messages.
#ifndef TRIREME_RUNTIME_EXECUTOR_H_
#define TRIREME_RUNTIME_EXECUTOR_H_

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/communicator.h"
#include "runtime/device.h"
#include "runtime/gemm_library.h"
#include "runtime/passes/memory_plan.h"
#include "runtime/repeated_run.h"
#include "runtime/row_exchange.h"
#include "runtime/step_plan.h"
#include "runtime/timeline.h"

namespace trireme {

// Where the caller keeps a program's parameters, gradients and state: the address of each such value, by id;
// nullptr for others.
using Bindings = std::vector<void*>;

// Seconds by op kind and by what else a step does, since the last Reset.
struct StepProfile {
  std::array<double, kNumOpKinds> op_seconds = {};
  std::array<int64_t, kNumOpKinds> op_calls = {};
  double communication_seconds = 0;  // waiting, and collectives inside segments
  // On a GPU the host only enqueues, and without waiting the seconds are those of enqueueing.
  bool waits_for_every_op = false;

  // Forgets the seconds.
  void Reset() { *this = {.waits_for_every_op = waits_for_every_op}; }
};

class Executor {
 public:
  struct Options {
    AxisSizes mesh;
    AxisSizes coordinate = {{0, 0, 0, 0}};
    // The communicator along each axis; nullptr on an axis of size 1.
    std::array<Communicator*, kNumAxes> axes = {};
    // The communicator of each of StepPlan::channels.
    std::vector<Communicator*> channels;
    // Memory for slots and transient values: SlotBytes(plan) and TransientBytes(plan).
    void* slots = nullptr;
    void* transient = nullptr;
    // Where the device has graphs: what segments enqueue between two collectives is captured, and replayed
    // from the third time on. Steps that are traced or whose ops are waited for go without.
    bool graphs = false;
    // Filled while running; may be nullptr. What is replayed as a graph is not counted.
    StepProfile* profile = nullptr;
  };

  // Fills the inputs of a program (by value id and address) for a micro-batch; called at each kLoad.
  using LoadFunction =
      std::function<void(int micro_batch, int program, const std::vector<std::pair<ValueId, void*>>& inputs)>;

  // `plan`, `device` and what `options` points to must outlive the executor. `memory` and `bindings`: one a
  // program.
  Executor(const StepPlan& plan, std::vector<MemoryPlan> memory, std::vector<Bindings> bindings,
           Device& device, Options options);

  static int64_t SlotBytes(const StepPlan& plan, const std::vector<MemoryPlan>& memory);
  static int64_t TransientBytes(const std::vector<MemoryPlan>& memory);

  // Runs the whole list and waits for it once, at its end. `losses` [num_micro_batches, terms] receives
  // each micro-batch's loss sums where the plan has kLoss entries; from AllocateHost, or the host waits for
  // each.
  // `timeline`: of this plan, receives the step's events; nullptr: nobody asks.
  // `enqueued`, if given, is called when the whole list is, before the wait: what the host does there costs
  // no time where the device works by itself.
  void Run(const LoadFunction& load, double* losses, Timeline* timeline = nullptr,
           const std::function<void()>& enqueued = nullptr);

  // The dense products of the list, each problem once, where the list has it first.
  std::vector<GemmUse> Gemms() const;

  // The address of a value of a program in a slot.
  void* Address(int program, ValueId id, int slot) const;

 private:
  struct BoundOp {
    const Op* op;
    int index;                  // in its segment
    const KernelEntry* kernel;  // nullptr for a collective
    bool adds_gradient;         // to a parameter's, from a step's second micro-batch on
    unsigned passing;           // KernelArguments::passing
    std::vector<View> inputs;
    std::vector<View> outputs;
    void* workspace;
  };
  // Ops that follow each other and only enqueue, or one collective.
  struct Piece {
    std::vector<BoundOp> ops;
    bool communicates = false;
    bool adds_gradient = false;       // any of its ops
    std::array<RepeatedRun, 2> runs;  // without and with adding to parameter gradients
  };
  using BoundSegment = std::vector<Piece>;

  View ViewOf(int program, ValueId id, int slot) const;
  bool AddsGradient(int program, const Op& op) const;
  bool IsPassing(int program, ValueId gradient) const;
  BoundSegment Bind(int program, int segment, int slot) const;
  void Load(const StepEntry& entry, const LoadFunction& load);
  void RunEntry(int index, const LoadFunction& load, double* losses);
  void RunSegment(const StepEntry& entry);
  void RunOp(const BoundOp& op, bool accumulates);
  KernelArguments ArgumentsOf(const BoundOp& op, bool accumulates) const;
  void LaunchOp(const BoundOp& op, bool accumulates);
  void RunCollective(const BoundOp& op);
  // Where a timeline sees the op end: a shift, which is only started, on its communicator's stream.
  StreamId EndStream(const BoundOp& op) const;
  // The offsets of an exchange of rows, where the host can read them. Off the host it waits for the device:
  // who sends how many rows is known to it alone, and messages take their lengths from the host.
  std::pair<View, View> OffsetsOnHost(const BoundOp& op);
  // A communicator that has lost a rank says so in Progress; the device would wait for ever.
  void WaitForDevice();
  void Start(int index);
  void Progress();

  const StepPlan& plan_;
  const std::vector<MemoryPlan> memory_;
  const std::vector<Bindings> bindings_;
  Device& device_;
  const Options options_;
  std::vector<std::vector<std::vector<BoundSegment>>> bound_;  // by program, slot, segment
  std::vector<Communicator::Ticket> tickets_;                  // by entry
  std::vector<std::pair<ValueId, void*>> load_buffer_;
  // Shifts that were started and not awaited yet.
  struct ShiftUnderWay {
    const void* result;
    Communicator::Ticket ticket;
    size_t timeline_event;
  };
  std::vector<ShiftUnderWay> shifts_;
  int num_under_way_ = 0;         // messages of the plan, and shifts
  Timeline* timeline_ = nullptr;  // of the Run under way
  size_t timeline_event_ = 0;     // of the op under way
  RowExchange row_exchange_;
  char* host_offsets_ = nullptr;          // for OffsetsOnHost; null where nothing needs it
  std::vector<std::string> entry_names_;  // where the device has ranges
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_EXECUTOR_H_
