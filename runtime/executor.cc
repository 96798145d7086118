#include "runtime/executor.h"

#include <glog/logging.h>

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "runtime/clock.h"
#include "runtime/op_table.h"

namespace trireme {
namespace {

bool ExchangesRows(OpKind kind) {
  return kind == OpKind::kDispatchRows || kind == OpKind::kReturnRows;
}

// The most that Executor::OffsetsOnHost copies.
int64_t MostOffsetsBytes(const StepPlan& plan) {
  int64_t most = 0;
  for (const Program* program : plan.programs) {
    for (const Segment& segment : program->segments) {
      for (const Op& op : segment.ops) {
        if (!ExchangesRows(op.kind)) continue;
        most = std::max(
            most, program->value(op.inputs[1]).size_bytes() + program->value(op.inputs[2]).size_bytes());
      }
    }
  }
  return most;
}

}  // namespace

Executor::Executor(const StepPlan& plan, std::vector<MemoryPlan> memory, std::vector<Bindings> bindings,
                   Device& device, Options options)
    : plan_(plan),
      memory_(std::move(memory)),
      bindings_(std::move(bindings)),
      device_(device),
      options_(std::move(options)),
      tickets_(plan.entries.size(), 0) {
  CHECK_EQ(memory_.size(), plan.programs.size());
  CHECK_EQ(bindings_.size(), plan.programs.size());
  bound_.resize(plan.programs.size());
  for (int p = 0; p < plan.programs.size(); ++p) {
    // A program without values in slots runs the same whatever the slot.
    const int num_slots = memory_[p].slot_bytes > 0 ? plan.num_slots : 1;
    bound_[p].resize(num_slots);
    for (int slot = 0; slot < num_slots; ++slot) {
      for (int s = 0; s < plan.programs[p]->segments.size(); ++s) bound_[p][slot].push_back(Bind(p, s, slot));
    }
  }
  const int64_t offsets_bytes = device_.is_host() ? 0 : MostOffsetsBytes(plan);
  if (offsets_bytes > 0) host_offsets_ = static_cast<char*>(device_.AllocateHost(offsets_bytes));
  if (!device_.has_ranges()) return;
  for (int i = 0; i < plan.entries.size(); ++i) entry_names_.push_back(plan.EntryText(i));
}

int64_t Executor::SlotBytes(const StepPlan& plan, const std::vector<MemoryPlan>& memory) {
  int64_t bytes = 0;
  for (const MemoryPlan& program : memory) bytes = std::max(bytes, program.slot_bytes);
  return bytes * plan.num_slots;
}

int64_t Executor::TransientBytes(const std::vector<MemoryPlan>& memory) {
  int64_t bytes = 0;
  for (const MemoryPlan& program : memory) bytes = std::max(bytes, program.transient_bytes);
  return bytes;
}

void* Executor::Address(int program, ValueId id, int slot) const {
  if (id == kNoValue) return nullptr;
  const Program& p = *plan_.programs[program];
  const ValueId storage = p.StorageOf(id);
  const int64_t offset = p.OffsetInStorage(id) * SizeOf(p.value(id).dtype);
  const MemoryPlan::Place& place = memory_[program].places[storage];
  char* base = nullptr;
  switch (place.kind) {
    case MemoryKind::kNone:
      return nullptr;
    case MemoryKind::kBound:
      base = static_cast<char*>(bindings_[program][storage]);
      CHECK(base != nullptr) << "value " << p.value(storage).name << " is not bound";
      break;
    case MemoryKind::kSlot: {
      int64_t stride = 0;
      for (const MemoryPlan& memory : memory_) stride = std::max(stride, memory.slot_bytes);
      base = static_cast<char*>(options_.slots) + slot * stride + place.offset;
      break;
    }
    case MemoryKind::kTransient:
      base = static_cast<char*>(options_.transient) + place.offset;
      break;
  }
  return base + offset;
}

View Executor::ViewOf(int program, ValueId id, int slot) const {
  if (id == kNoValue) return {};
  const Value& value = plan_.programs[program]->value(id);
  return {Address(program, id, slot), value.dtype, value.shape};
}

bool Executor::AddsGradient(int program, const Op& op) const {
  return std::any_of(op.outputs.begin(), op.outputs.end(), [&](ValueId id) {
    return plan_.programs[program]->value(id).kind == ValueKind::kParameterGradient &&
           !IsPassing(program, id);
  });
}

bool Executor::IsPassing(int program, ValueId gradient) const {
  if (program >= plan_.passing_gradients.size()) return false;
  const std::vector<ValueId>& passing = plan_.passing_gradients[program];
  return std::find(passing.begin(), passing.end(), gradient) != passing.end();
}

Executor::BoundSegment Executor::Bind(int program, int segment, int slot) const {
  BoundSegment bound;
  const std::vector<Op>& ops = plan_.programs[program]->segments[segment].ops;
  for (size_t i = 0; i < ops.size(); ++i) {
    const Op& op = ops[i];
    if (op.kind == OpKind::kRelabel) continue;
    BoundOp b = {&op, static_cast<int>(i), nullptr, AddsGradient(program, op), 0, {}, {}, nullptr};
    if (!Definition(op.kind).communicates) b.kernel = &device_.kernel(op.kind);
    for (ValueId id : op.inputs) b.inputs.push_back(ViewOf(program, id, slot));
    for (size_t o = 0; o < op.outputs.size(); ++o) {
      b.outputs.push_back(ViewOf(program, op.outputs[o], slot));
      if (IsPassing(program, op.outputs[o])) b.passing |= 1u << o;
    }
    b.workspace = static_cast<char*>(options_.transient) + memory_[program].workspaces[segment][i];
    const bool communicates = b.kernel == nullptr;
    if (bound.empty() || communicates || bound.back().communicates) {
      bound.emplace_back();
      bound.back().communicates = communicates;
    }
    bound.back().adds_gradient |= b.adds_gradient;
    bound.back().ops.push_back(std::move(b));
  }
  return bound;
}

void Executor::RunSegment(const StepEntry& entry) {
  const bool is_looked_at =
      timeline_ != nullptr || (options_.profile != nullptr && options_.profile->waits_for_every_op);
  const bool uses_graphs = options_.graphs && device_.has_graphs() && !is_looked_at;
  std::vector<std::vector<BoundSegment>>& slots = bound_[entry.program];
  const size_t slot = std::min<size_t>(entry.slot, slots.size() - 1);
  for (Piece& piece : slots[slot][entry.segment]) {
    if (!uses_graphs || piece.communicates) {
      for (const BoundOp& op : piece.ops) RunOp(op, entry.accumulates);
      continue;
    }
    // Addresses, shapes and attributes are the piece's own; whether to add is all that differs between runs.
    const bool adds = entry.accumulates && piece.adds_gradient;
    piece.runs[adds ? 1 : 0].Run(device_, [&] {
      for (const BoundOp& op : piece.ops) LaunchOp(op, entry.accumulates);
    });
    if (num_under_way_ > 0) Progress();
  }
}

KernelArguments Executor::ArgumentsOf(const BoundOp& op, bool accumulates) const {
  return {.op = *op.op,
          .inputs = op.inputs,
          .outputs = op.outputs,
          .accumulate = op.op->always_accumulates || (accumulates && op.adds_gradient),
          .workspace = op.workspace,
          .mesh = options_.mesh,
          .coordinate = options_.coordinate,
          .num_threads = device_.num_threads(),
          .passing = op.op->always_accumulates ? 0 : op.passing};
}

void Executor::LaunchOp(const BoundOp& op, bool accumulates) {
  device_.Launch(op.kernel->run, ArgumentsOf(op, accumulates), 0);
}

std::vector<GemmUse> Executor::Gemms() const {
  absl::flat_hash_set<std::string> seen;
  std::vector<GemmUse> gemms;
  for (const StepEntry& entry : plan_.entries) {
    if (entry.kind != StepKind::kRun) continue;
    const std::vector<std::vector<BoundSegment>>& slots = bound_[entry.program];
    for (const Piece& piece : slots[std::min<size_t>(entry.slot, slots.size() - 1)][entry.segment]) {
      for (const BoundOp& op : piece.ops) {
        for (const GemmUse& gemm : GemmsOf(ArgumentsOf(op, entry.accumulates))) {
          if (seen.insert(gemm.problem.ToString()).second) gemms.push_back(gemm);
        }
      }
    }
  }
  return gemms;
}

void Executor::RunOp(const BoundOp& op, bool accumulates) {
  const double begin = options_.profile != nullptr ? NowSeconds() : 0;
  if (timeline_ != nullptr) timeline_event_ = timeline_->BeginOp(op.index);
  if (op.kernel == nullptr) {
    device_.BeginRange(Name(op.op->kind));
    RunCollective(op);
    device_.EndRange();
  } else {
    LaunchOp(op, accumulates);
  }
  if (timeline_ != nullptr) timeline_->EndOp(EndStream(op));
  if (num_under_way_ > 0) Progress();
  if (options_.profile == nullptr) return;
  if (options_.profile->waits_for_every_op) device_.Synchronize(0);
  const double seconds = NowSeconds() - begin;
  const int kind = static_cast<int>(op.op->kind);
  options_.profile->op_seconds[kind] += seconds;
  ++options_.profile->op_calls[kind];
  if (op.kernel == nullptr) options_.profile->communication_seconds += seconds;
}

StreamId Executor::EndStream(const BoundOp& op) const {
  if (op.op->kind != OpKind::kShift) return 0;
  return options_.axes[static_cast<int>(op.op->attributes.AxisOf("axis"))]->stream();
}

std::pair<View, View> Executor::OffsetsOnHost(const BoundOp& op) {
  std::pair<View, View> offsets(op.inputs[1], op.inputs[2]);
  if (device_.is_host()) return offsets;
  int64_t place = 0;
  for (View* view : {&offsets.first, &offsets.second}) {
    const int64_t bytes = view->shape.num_elements() * SizeOf(view->dtype);
    char* const copy = host_offsets_ + place;
    device_.CopyToHost(copy, view->data, bytes, 0);
    view->data = copy;
    place += bytes;
  }
  WaitForDevice();
  return offsets;
}

void Executor::WaitForDevice() {
  const EventId end = device_.Record(0);
  while (!device_.Done(end)) Progress();
}

void Executor::RunCollective(const BoundOp& op) {
  const Axis axis = op.op->attributes.AxisOf("axis");
  Communicator* communicator = options_.axes[static_cast<int>(axis)];
  CHECK(communicator != nullptr) << "no communicator along " << Name(axis);
  const View& in = op.inputs[0];
  const View& out = op.outputs[0];
  const int64_t count = in.shape.num_elements();
  Communicator::Ticket ticket = 0;
  switch (op.op->kind) {
    case OpKind::kAllReduce:
      ticket = communicator->StartAllReduce(in.data, out.data, count, in.dtype, ReduceOp::kSum);
      break;
    case OpKind::kAllGather:
      ticket = communicator->StartAllGather(in.data, out.data, count, in.dtype);
      break;
    case OpKind::kReduceScatter:
      ticket = communicator->StartReduceScatter(in.data, out.data, out.shape.num_elements(), in.dtype);
      break;
    case OpKind::kAllToAll:
      ticket = communicator->StartAllToAll(in.data, out.data, count / communicator->size(), in.dtype);
      break;
    case OpKind::kShift: {
      const int rank = communicator->rank(), size = communicator->size();
      const Communicator::Piece sent = {in.data, count, (rank + 1) % size};
      const Communicator::Piece received = {out.data, count, (rank + size - 1) % size};
      shifts_.push_back(
          {out.data, communicator->StartExchange({sent}, {received}, in.dtype), timeline_event_});
      ++num_under_way_;
      return;
    }
    case OpKind::kAwaitShift: {
      const auto shift = std::find_if(shifts_.begin(), shifts_.end(),
                                      [&](const ShiftUnderWay& s) { return s.result == in.data; });
      CHECK(shift != shifts_.end()) << "AwaitShift of what was not shifted";
      communicator->Wait(shift->ticket);
      if (timeline_ != nullptr) timeline_->Awaited(shift->timeline_event);
      shifts_.erase(shift);
      --num_under_way_;
      return;
    }
    case OpKind::kExchangeOffsets:
      ticket = row_exchange_.StartOffsets(*communicator, in, out);
      break;
    case OpKind::kDispatchRows:
    case OpKind::kReturnRows: {
      const auto [sent, received] = OffsetsOnHost(op);
      ticket =
          row_exchange_.StartRows(*communicator, in, out, sent, received, op.op->kind == OpKind::kReturnRows);
      break;
    }
    default:
      LOG(FATAL) << Name(op.op->kind) << " is no collective";
  }
  communicator->Wait(ticket);
}

void Executor::Start(int index) {
  const StepEntry& entry = plan_.entries[index];
  Communicator& channel = *options_.channels[entry.channel];
  const View in = ViewOf(entry.program, entry.in, entry.slot);
  const View out = ViewOf(entry.program, entry.out, entry.slot);
  Communicator::Ticket& ticket = tickets_[index];
  switch (entry.message) {
    case Message::kSend:
      ticket = channel.StartSend(in.data, in.shape.num_elements(), in.dtype, entry.peer);
      break;
    case Message::kReceive:
      ticket = channel.StartReceive(out.data, out.shape.num_elements(), out.dtype, entry.peer);
      break;
    case Message::kAllReduce:
      ticket = channel.StartAllReduce(in.data, out.data, in.shape.num_elements(), in.dtype, ReduceOp::kSum);
      break;
    case Message::kReduceScatter:
      ticket = channel.StartReduceScatter(in.data, out.data, out.shape.num_elements(), in.dtype);
      break;
    case Message::kAllGather:
      ticket = channel.StartAllGather(in.data, out.data, in.shape.num_elements(), in.dtype);
      break;
  }
}

void Executor::Progress() {
  for (Communicator* channel : options_.channels) {
    if (channel != nullptr) channel->Progress();
  }
  for (Communicator* along : options_.axes) {
    if (along != nullptr) along->Progress();
  }
}

void Executor::Load(const StepEntry& entry, const LoadFunction& load) {
  const Program& program = *plan_.programs[entry.program];
  load_buffer_.clear();
  for (ValueId id = 0; id < program.values.size(); ++id) {
    if (program.values[id].kind != ValueKind::kInput) continue;
    load_buffer_.emplace_back(id, Address(entry.program, id, entry.slot));
  }
  load(entry.micro_batch, entry.program, load_buffer_);
}

void Executor::RunEntry(int index, const LoadFunction& load, double* losses) {
  const StepEntry& entry = plan_.entries[index];
  const Program& program = *plan_.programs[entry.program];
  switch (entry.kind) {
    case StepKind::kLoad:
      Load(entry, load);
      break;
    case StepKind::kRun:
      RunSegment(entry);
      break;
    case StepKind::kStart:
      Start(index);
      ++num_under_way_;
      break;
    case StepKind::kWait: {
      const double begin = options_.profile != nullptr ? NowSeconds() : 0;
      options_.channels[plan_.entries[entry.started].channel]->Wait(tickets_[entry.started]);
      --num_under_way_;
      if (options_.profile != nullptr) options_.profile->communication_seconds += NowSeconds() - begin;
      break;
    }
    case StepKind::kLoss:
      device_.CopyToHost(&losses[entry.micro_batch * program.value(program.loss_sum).shape.num_elements()],
                         Address(entry.program, program.loss_sum, entry.slot),
                         program.value(program.loss_sum).size_bytes(), 0);
      break;
    case StepKind::kHandOver:
      device_.CopyWithin(Address(entry.program, entry.out, entry.slot),
                         Address(entry.from_program, entry.in, entry.from_slot),
                         program.value(entry.out).size_bytes(), 0);
      break;
  }
}

void Executor::Run(const LoadFunction& load, double* losses, Timeline* timeline,
                   const std::function<void()>& enqueued) {
  num_under_way_ = 0;
  timeline_ = timeline;
  for (int i = 0; i < plan_.entries.size(); ++i) {
    if (timeline != nullptr) timeline->Begin(i);
    if (!entry_names_.empty()) device_.BeginRange(entry_names_[i].c_str());
    RunEntry(i, load, losses);
    if (!entry_names_.empty()) device_.EndRange();
    if (timeline != nullptr) {
      const StepEntry& entry = plan_.entries[i];
      timeline->End(i, entry.kind == StepKind::kStart ? options_.channels[entry.channel]->stream() : 0);
    }
  }
  timeline_ = nullptr;
  if (enqueued) enqueued();
  WaitForDevice();
  CHECK_EQ(num_under_way_, 0) << "the step plan starts a message that it does not wait for";
}

}  // namespace trireme
