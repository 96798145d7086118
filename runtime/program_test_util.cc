#include "runtime/program_test_util.h"

#include <glog/logging.h>

#include <cstring>

#include "runtime/random.h"

namespace trireme {
namespace {

double Load(const void* data, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::kF64:
      return static_cast<const double*>(data)[i];
    case DType::kF32:
      return static_cast<const float*>(data)[i];
    case DType::kBF16:
      return static_cast<float>(static_cast<const Bf16*>(data)[i]);
    case DType::kI32:
      return static_cast<const int32_t*>(data)[i];
    case DType::kI64:
      return static_cast<double>(static_cast<const int64_t*>(data)[i]);
    case DType::kU8:
      return static_cast<const uint8_t*>(data)[i];
  }
  return 0;
}

void Store(void* data, DType dtype, int64_t i, double number) {
  switch (dtype) {
    case DType::kF64:
      static_cast<double*>(data)[i] = number;
      break;
    case DType::kF32:
      static_cast<float*>(data)[i] = static_cast<float>(number);
      break;
    case DType::kBF16:
      static_cast<Bf16*>(data)[i] = Bf16(static_cast<float>(number));
      break;
    case DType::kI32:
      static_cast<int32_t*>(data)[i] = static_cast<int32_t>(number);
      break;
    case DType::kI64:
      static_cast<int64_t*>(data)[i] = static_cast<int64_t>(number);
      break;
    case DType::kU8:
      static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(number);
      break;
  }
}

std::vector<double> RandomNumbers(const Value& value, int micro_batch) {
  const RandomStream stream(static_cast<uint64_t>(micro_batch), value.name);
  std::vector<double> numbers(value.shape.num_elements());
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = stream.Normal(i);
  return numbers;
}

// Every byte 0xff: NaN in all floating dtypes.
constexpr int kUnwritten = 0xff;

}  // namespace

ProgramRun::ProgramRun(const Program& program, const ProgramRunOptions& options)
    : program_(program), options_(options), device_(1, KernelChoice::kPlain) {
  memory_ = PlanMemory(program, device_);
  MakePlan();
  Allocate();
  num_terms_ = program.loss_sum == kNoValue ? 1 : program.value(program.loss_sum).shape.num_elements();
  losses_.resize(options.num_micro_batches * num_terms_);
}

bool ProgramRun::IsPersistent(ValueId id) const {
  const ValueKind kind = program_.value(id).kind;
  return kind == ValueKind::kParameter || kind == ValueKind::kState;
}

void ProgramRun::MakePlan() {
  plan_.programs = {&program_};
  plan_.num_slots = plan_.num_micro_batches = options_.num_micro_batches;
  for (int m = 0; m < options_.num_micro_batches; ++m) {
    plan_.entries.push_back({.kind = StepKind::kLoad, .micro_batch = m, .slot = m});
    for (int s = 0; s < program_.segments.size(); ++s) {
      plan_.entries.push_back({.kind = StepKind::kRun,
                               .segment = s,
                               .micro_batch = m,
                               .slot = m,
                               .accumulates = program_.segments[s].region != Region::kForward && m > 0});
    }
    if (program_.loss_sum != kNoValue) {
      plan_.entries.push_back({.kind = StepKind::kLoss, .micro_batch = m, .slot = m});
    }
  }
}

void ProgramRun::Allocate() {
  auto block = [this](int64_t bytes) {
    blocks_.emplace_back(device_.Allocate(bytes), bytes);
    return blocks_.back().first;
  };
  bindings_.resize(program_.values.size(), nullptr);
  for (ValueId id = 0; id < program_.values.size(); ++id) {
    const Value& value = program_.value(id);
    if (value.base != kNoValue) continue;
    if (IsPersistent(id) || value.kind == ValueKind::kParameterGradient) {
      bindings_[id] = block(value.size_bytes());
    }
  }
  Executor::Options options = {.mesh = options_.mesh, .coordinate = options_.coordinate};
  options.axes[static_cast<int>(Axis::kTp)] = options_.tp;
  options.slots = block(Executor::SlotBytes(plan_, {memory_}));
  options.transient = block(Executor::TransientBytes({memory_}));
  executor_ = std::make_unique<Executor>(plan_, std::vector<MemoryPlan>{memory_},
                                         std::vector<Bindings>{bindings_}, device_, std::move(options));
  for (ValueId id = 0; id < program_.values.size(); ++id) {
    const Value& value = program_.value(id);
    const bool anew = value.kind == ValueKind::kInput || value.kind == ValueKind::kReceived;
    if (value.base != kNoValue || !IsFloat(value.dtype) || (!anew && !IsPersistent(id))) continue;
    for (int m = 0; m < (anew ? options_.num_micro_batches : 1); ++m)
      given_[{id, m}] = RandomNumbers(value, m);
  }
}

void ProgramRun::Set(ValueId id, std::vector<double> numbers, int micro_batch) {
  CHECK_EQ(numbers.size(), program_.value(id).shape.num_elements()) << program_.value(id).name;
  given_[{id, micro_batch}] = std::move(numbers);
}

const std::vector<double>& ProgramRun::given(ValueId id, int micro_batch) const {
  // Integers are set once for all micro-batches.
  auto numbers = given_.find({id, micro_batch});
  if (numbers == given_.end()) numbers = given_.find({id, 0});
  CHECK(numbers != given_.end()) << program_.value(id).name << " was not set";
  return numbers->second;
}

std::vector<double> ProgramRun::Get(ValueId id, int micro_batch) const {
  const Value& value = program_.value(id);
  const MemoryPlan::Place& place = memory_.places[program_.StorageOf(id)];
  CHECK(place.kind == MemoryKind::kBound || place.kind == MemoryKind::kSlot) << value.name << " is gone";
  const void* data = Address(id, micro_batch);
  std::vector<double> numbers(value.shape.num_elements());
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = Load(data, value.dtype, static_cast<int64_t>(i));
  return numbers;
}

void ProgramRun::Run() {
  for (const auto& [data, bytes] : blocks_) std::memset(data, kUnwritten, bytes);
  auto fill = [this](ValueId id, int micro_batch) {
    void* data = Address(id, micro_batch);
    const std::vector<double>& numbers = given(id, micro_batch);
    for (size_t i = 0; i < numbers.size(); ++i) {
      Store(data, program_.value(id).dtype, static_cast<int64_t>(i), numbers[i]);
    }
  };
  auto fill_all = [&](int micro_batch, bool persistent) {
    for (ValueId id = 0; id < program_.values.size(); ++id) {
      const Value& value = program_.value(id);
      const bool anew = value.kind == ValueKind::kInput || value.kind == ValueKind::kReceived;
      if (value.base == kNoValue && (persistent ? IsPersistent(id) : anew)) fill(id, micro_batch);
    }
  };
  fill_all(0, true);
  executor_->Run([&](int micro_batch, int, const auto&) { fill_all(micro_batch, false); }, losses_.data());
}

}  // namespace trireme
