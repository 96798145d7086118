#include "runtime/executor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "runtime/autograd.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/op_table.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/redistribute.h"
#include "runtime/passes/fuse_products.h"
#include "runtime/program_test_util.h"

namespace trireme {
namespace {

// A group of one whose operations complete when they are waited for.
class OneRank : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  Ticket StartAllReduce(const void* in, void* out, int64_t count, DType dtype, ReduceOp) override {
    return Copy(in, out, count * SizeOf(dtype));
  }
  Ticket StartAllGather(const void* in, void* out, int64_t count, DType dtype) override {
    return Copy(in, out, count * SizeOf(dtype));
  }
  Ticket StartReduceScatter(const void* in, void* out, int64_t count, DType dtype) override {
    return Copy(in, out, count * SizeOf(dtype));
  }
  Ticket StartAllToAll(const void*, void*, int64_t, DType) override { return ++last_; }
  Ticket StartExchange(absl::Span<const Piece>, absl::Span<const Piece>, DType) override { return ++last_; }
  Ticket StartBroadcast(void*, int64_t, DType, int) override { return ++last_; }
  Ticket StartSend(const void*, int64_t, DType, int) override { return ++last_; }
  Ticket StartReceive(void*, int64_t, DType, int) override { return ++last_; }
  void Wait(Ticket ticket) override {
    EXPECT_EQ(ticket, last_);
    if (out_ != nullptr) std::memmove(out_, in_, bytes_);
    out_ = nullptr;
    ++num_waits;
  }
  void Progress() override { ++num_progress; }
  void Barrier() override {}
  std::unique_ptr<Communicator> Split(int, int) override { return nullptr; }

  int num_waits = 0;
  int num_progress = 0;

 private:
  Ticket Copy(const void* in, void* out, int64_t bytes) {
    in_ = in;
    out_ = out;
    bytes_ = bytes;
    return ++last_;
  }

  Ticket last_ = 0;
  const void* in_ = nullptr;
  void* out_ = nullptr;
  int64_t bytes_ = 0;
};

// y = gelu(x) sent to oneself.
class ExecutorTest : public testing::Test {
 protected:
  ExecutorTest() : recorder_(&program_, {}, {}) {
    recorder_.BeginSegment("forward", Region::kForward);
    x_ = recorder_.Input("x", DType::kF32, {4}, {});
    state_ = recorder_.State("table", DType::kF32, {4}, {});
    const Tensor y = recorder_.Record1(OpKind::kGelu, {x_}, {"y", DType::kF32, {4}, {}});
    program_.stage_output = y.id();
    plan_.programs = {&program_};
    plan_.channels = {"world"};
  }

  void Run(Bindings bindings) {
    memory_ = PlanMemory(program_, device_);
    Executor::Options options = {.coordinate = {{0, 0, 0, 0}}, .channels = {&communicator_}};
    options.slots = device_.Allocate(Executor::SlotBytes(plan_, {memory_}));
    options.transient = device_.Allocate(Executor::TransientBytes({memory_}));
    options.profile = &profile_;
    Executor executor(plan_, {memory_}, {std::move(bindings)}, device_, options);
    executor.Run(
        [&](int, int, const std::vector<std::pair<ValueId, void*>>& inputs) {
          ASSERT_EQ(inputs.size(), 1);
          EXPECT_EQ(inputs[0].first, x_.id());
          for (int i = 0; i < 4; ++i) static_cast<float*>(inputs[0].second)[i] = static_cast<float>(i);
        },
        nullptr);
  }
  Bindings Bound(float* table) {
    Bindings bindings(program_.values.size(), nullptr);
    bindings[state_.id()] = table;
    return bindings;
  }

  CpuDevice device_{1};
  OneRank communicator_;
  Program program_;
  Recorder recorder_;
  Tensor x_, state_;
  StepPlan plan_;
  MemoryPlan memory_;
  StepProfile profile_;
};
using ExecutorDeathTest = ExecutorTest;

TEST_F(ExecutorTest, RunsTheListInItsOrder) {
  float table[4] = {};
  plan_.entries = {{.kind = StepKind::kLoad, .micro_batch = 0},
                   {.kind = StepKind::kRun, .segment = 0, .micro_batch = 0},
                   {.kind = StepKind::kStart,
                    .message = Message::kAllReduce,
                    .in = program_.stage_output,
                    .out = state_.id(),
                    .channel = 0},
                   {.kind = StepKind::kRun, .segment = 0, .micro_batch = 0},
                   {.kind = StepKind::kWait, .started = 2}};
  Run(Bound(table));
  EXPECT_EQ(table[0], 0);
  EXPECT_NEAR(table[1], 0.841192, 1e-5);
  EXPECT_NEAR(table[3], 2.996363, 1e-5);
  EXPECT_EQ(communicator_.num_waits, 1);
  EXPECT_EQ(profile_.op_calls[static_cast<int>(OpKind::kGelu)], 2);
}

TEST_F(ExecutorTest, MessagesAreMovedAheadBetweenOpsWhileAnyIsUnderWay) {
  float table[4] = {};
  const StepEntry run = {.kind = StepKind::kRun, .segment = 0, .micro_batch = 0};
  plan_.entries = {
      {.kind = StepKind::kLoad, .micro_batch = 0},
      run,
      {.kind = StepKind::kStart, .message = Message::kSend, .in = state_.id(), .channel = 0, .peer = 0},
      run,
      run,
      {.kind = StepKind::kWait, .started = 2},
      run};
  Run(Bound(table));
  EXPECT_EQ(communicator_.num_progress, 2);
}

// Writes down the ranges that it is given, as a bracketed text.
class RangesDevice : public CpuDevice {
 public:
  RangesDevice() : CpuDevice(1) {}
  bool has_ranges() const override { return true; }
  void BeginRange(const char* name) override { text += std::string("(") + name; }
  void EndRange() override { text += ")"; }
  std::string text;
};

TEST(ExecutorRangesTest, EntriesAndTheCollectivesInThemAreNamed) {
  Program program;
  AxisSizes mesh;
  mesh[Axis::kTp] = 2;
  Recorder recorder(&program, mesh, {});
  recorder.BeginSegment("block.0", Region::kForward);
  const Tensor x = recorder.Input("x", DType::kF32, {2, 2}, {kInvariant, kPartial});
  program.stage_output = Redistribute(x, Axis::kTp, kInvariant).id();
  RangesDevice device;
  const MemoryPlan memory = PlanMemory(program, device);
  StepPlan plan;
  plan.programs = {&program};
  plan.channels = {"dp"};
  plan.entries = {{.kind = StepKind::kRun, .segment = 0, .micro_batch = 3},
                  {.kind = StepKind::kStart,
                   .message = Message::kAllReduce,
                   .in = program.stage_output,
                   .out = program.stage_output,
                   .channel = 0},
                  {.kind = StepKind::kWait, .started = 1}};
  OneRank rank;
  Executor::Options options = {.mesh = mesh, .channels = {&rank}};
  options.axes[static_cast<int>(Axis::kTp)] = &rank;
  options.slots = device.Allocate(Executor::SlotBytes(plan, {memory}));
  options.transient = device.Allocate(Executor::TransientBytes({memory}));
  Executor executor(plan, {memory}, {Bindings(program.values.size(), nullptr)}, device, options);
  executor.Run([](int, int, const auto&) {}, nullptr);
  const std::string collective = std::string("(") + Name(OpKind::kAllReduce) + ")";
  EXPECT_EQ(device.text,
            "(" + plan.EntryText(0) + collective + ")(" + plan.EntryText(1) + ")(" + plan.EntryText(2) + ")");
  EXPECT_NE(plan.EntryText(0).find("forward block.0"), std::string::npos);
  EXPECT_NE(plan.EntryText(0).find("micro-batch 3"), std::string::npos);
}

TEST_F(ExecutorDeathTest, AMessageThatIsNeverWaitedForAborts) {
  float table[4] = {};
  plan_.entries = {
      {.kind = StepKind::kStart, .message = Message::kSend, .in = state_.id(), .channel = 0, .peer = 0}};
  EXPECT_DEATH(Run(Bound(table)), "the step plan starts a message that it does not wait for");
}

TEST_F(ExecutorDeathTest, AValueThatIsNotBoundAbortsByName) {
  plan_.entries = {
      {.kind = StepKind::kStart, .message = Message::kSend, .in = state_.id(), .channel = 0, .peer = 0}};
  EXPECT_DEATH(Run(Bound(nullptr)), "value table is not bound");
}

// ColumnSum can add to a parameter's gradient. Here its result is no parameter's gradient (the bias is used
// through a redistribution), so it must overwrite in later micro-batches too; Accumulate adds.
TEST(ExecutorAccumulationTest, OnlyParameterGradientsAreAddedTo) {
  Program program;
  AxisSizes mesh;
  mesh[Axis::kTp] = 2;
  Recorder recorder(&program, mesh, {.compute = DType::kF64});
  recorder.BeginSegment("product", Region::kForward);
  const Tensor x = recorder.Input("x", DType::kF64, {3, 2}, {kInvariant, Shard(1)});
  const Tensor w =
      recorder.Parameters({{.name = "w", .global_shape = {5, 4}, .layout = {kInvariant, Shard(1)}}});
  const Tensor bias = recorder.Parameters({{.name = "bias", .global_shape = {5}}});
  program.stage_output = Linear(x, w, Redistribute(bias, Axis::kTp, kPartial)).id();
  Differentiate(recorder);

  constexpr int kMicroBatches = 3;
  ProgramRun run(program, {.num_micro_batches = kMicroBatches, .mesh = mesh});
  run.Run();
  std::vector<double> expected(5, 0);
  for (int m = 0; m < kMicroBatches; ++m) {
    const std::vector<double>& dy = run.given(program.stage_output_gradient, m);
    for (size_t i = 0; i < dy.size(); ++i) expected[i % 5] += dy[i];
  }
  const std::vector<double> found = run.Get(program.parameters[1].gradient);
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(found[i], expected[i], 1e-12);
}

TEST(ExecutorGemmsTest, AreListedOnceEachWithTheirOperands) {
  Program program;
  Recorder recorder(&program, {}, {.compute = DType::kF32});
  recorder.BeginSegment("products", Region::kForward);
  const Tensor x = recorder.Input("x", DType::kF32, {3, 4}, {});
  const auto w = [&](const char* name) {
    return recorder.Parameters({{.name = name, .global_shape = {4, 4}}});
  };
  const Tensor bias = recorder.Parameters({{.name = "bias", .global_shape = {4}}});
  program.stage_output = Linear(Linear(Gelu(Linear(x, w("w0"), bias)), w("w1")), w("w2")).id();
  Differentiate(recorder);
  FuseProductsPass(program);
  CpuDevice device(1);
  const MemoryPlan memory = PlanMemory(program, device);
  StepPlan plan;
  plan.programs = {&program};
  for (const bool accumulates : {false, true}) {
    for (int s = 0; s < program.segments.size(); ++s) {
      plan.entries.push_back({.segment = s, .micro_batch = 0, .accumulates = accumulates && s > 0});
    }
  }
  Bindings bindings(program.values.size(), nullptr);
  for (const ParameterGroup& group : program.parameters) {
    for (ValueId id : {group.value, group.gradient})
      bindings[id] = device.Allocate(program.value(id).size_bytes());
  }
  Executor::Options options;
  options.slots = device.Allocate(Executor::SlotBytes(plan, {memory}));
  options.transient = device.Allocate(Executor::TransientBytes({memory}));
  const Executor executor(plan, {memory}, {bindings}, device, options);
  std::vector<std::string> found;
  for (const GemmUse& use : executor.Gemms()) {
    std::string text = use.problem.ToString();
    found.push_back(text.substr(0, text.find(", aligned")));
    EXPECT_TRUE(use.a != nullptr && use.b != nullptr && use.c != nullptr);
    EXPECT_EQ(use.problem.alignment, GemmAlignment(use.a, use.b, use.c, use.aux));
    const GemmEpilogue epilogue = use.problem.spec.epilogue;
    EXPECT_EQ(use.aux != nullptr, epilogue == GemmEpilogue::kGeluKept || epilogue == GemmEpilogue::kGeluGrad);
    EXPECT_EQ(use.bias != nullptr, use.problem.spec.bias || epilogue == GemmEpilogue::kBiasGrad);
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());  // where alignments differ
  const std::vector<std::string> expected = {"f32 -> f32, A [3, 4], B [4, 4]",
                                             "f32 -> f32, A [3, 4], B [4, 4], GELU's gradient",
                                             "f32 -> f32, A [3, 4], B [4, 4]^T",
                                             "f32 -> f32, A [3, 4], B [4, 4]^T, bias",
                                             "f32 -> f32, A [3, 4], B [4, 4]^T, bias, GELU kept",
                                             "f32 -> f32, A [3, 4]^T, B [3, 4]",
                                             "f32 -> f32, A [3, 4]^T, B [3, 4], added",
                                             "f32 -> f32, A [3, 4]^T, B [3, 4], bias gradient",
                                             "f32 -> f32, A [3, 4]^T, B [3, 4], bias gradient, added"};
  EXPECT_EQ(found, expected);
}

TEST(ExecutorAccumulationTest, TheFirstMicroBatchOfAStepOverwrites) {
  Program program;
  Recorder recorder(&program, {}, {.compute = DType::kF64});
  recorder.BeginSegment("product", Region::kForward);
  const Tensor x = recorder.Input("x", DType::kF64, {3, 2}, {});
  program.stage_output = Linear(x, recorder.Parameters({{.name = "w", .global_shape = {5, 2}}})).id();
  Differentiate(recorder);
  ProgramRun run(program, {.num_micro_batches = 2});
  run.Run();
  const std::vector<double> first = run.Get(program.parameters[0].gradient);
  run.Run();
  EXPECT_EQ(run.Get(program.parameters[0].gradient), first);
  EXPECT_FALSE(std::isnan(first[0]));
}

}  // namespace
}  // namespace trireme
