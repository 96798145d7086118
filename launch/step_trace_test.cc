// The timeline of a few steps on thread ranks, read back from its file.
#include "launch/step_trace.h"

#include <glog/logging.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <tuple>

#include "configs/load.h"
#include "configs/validate.h"
#include "launch/clock_offset.h"
#include "launch/rank_plan.h"
#include "launch/trainer.h"
#include "parallel/thread_communicator.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/op_table.h"

namespace trireme {
namespace {

using Json = nlohmann::json;

constexpr int kNumRanks = 8;
constexpr int kFirstStep = 2, kLastStep = 3;

// (program, segment, micro-batch, op) to how often.
using OpCounts = std::map<std::tuple<int, std::string, std::string, int, int>, int>;
// (channel, what) to how often.
using MessageCounts = std::map<std::string, int>;

struct Expected {
  OpCounts ops;
  MessageCounts messages;
  int waits = 0;
};

Expected ExpectedOf(const StepPlan& plan) {
  Expected expected;
  for (const StepEntry& entry : plan.entries) {
    if (entry.kind == StepKind::kStart) ++expected.messages[Name(entry.message)];
    if (entry.kind == StepKind::kWait) ++expected.waits;
    if (entry.kind != StepKind::kRun) continue;
    const Segment& segment = plan.programs[entry.program]->segments[entry.segment];
    for (int op = 0; op < segment.ops.size(); ++op) {
      if (segment.ops[op].kind == OpKind::kRelabel) continue;
      const char* phase = segment.ops[op].recomputed          ? "recompute"
                          : segment.region == Region::kUpdate ? "optimizer"
                                                              : Name(segment.region);
      ++expected.ops[{entry.program, phase, segment.name, entry.micro_batch, op}];
    }
  }
  return expected;
}

struct TracedRun {
  std::vector<Expected> expected{kNumRanks};
  Json file;
};

void RunRank(const Config& config, const std::string& path, Communicator& world, Expected* expected) {
  absl::StatusOr<std::unique_ptr<Mesh>> mesh = Mesh::Create(world, MeshSizes(config), LinksOf(config));
  CHECK(mesh.ok()) << mesh.status();
  CpuDevice device(1);
  RankPlan plan = MakeRankPlan(config, (*mesh)->coordinate(), device);
  Trainer trainer(plan, **mesh, device);
  trainer.Initialize(1);
  *expected = ExpectedOf(plan.step);
  const TraceRequest request = {path, kFirstStep, kLastStep};
  absl::StatusOr<StepTrace> trace = StepTrace::Open(request, 1, 4, plan.step, device, **mesh);
  CHECK(trace.ok()) << trace.status();
  const int64_t tokens = plan.batch.micro_batch * plan.batch.sequence_length;
  const std::vector<int32_t> ids(tokens, 5);
  const std::vector<int64_t> samples(plan.batch.micro_batch, 0);
  for (int step = 1; step <= 4; ++step) {
    Timeline* const timeline = trace->Begin(step);
    trainer.Step(
        1e-3,
        [&](int) {
          return Samples{ids.data(), ids.data(), samples.data()};
        },
        timeline);
    if (timeline != nullptr) trace->End(step);
    EXPECT_EQ(trace->is_complete(), step >= kLastStep);
  }
  const absl::StatusOr<bool> written = trace->Write();
  CHECK(written.ok()) << written.status();
  EXPECT_TRUE(*written);
  EXPECT_FALSE(trace->is_complete());
}

TracedRun Trace(const std::string& recipe, const std::vector<std::string>& overrides) {
  const std::string path = testing::TempDir() + "/step_trace_test.json";
  absl::StatusOr<Config> config = LoadConfig("configs/" + recipe, overrides);
  CHECK(config.ok()) << config.status();
  CHECK(ResolveMesh(&*config, kNumRanks).ok());
  TracedRun run;
  RunThreadRanks(kNumRanks,
                 [&](Communicator& world) { RunRank(*config, path, world, &run.expected[world.rank()]); });
  std::ifstream file(path);
  run.file = Json::parse(file);
  std::remove(path.c_str());
  return run;
}

// dp 2, tp 2, pp 2, two micro-batches, selective recompute: every kind of event.
const TracedRun& Llama() {
  static const TracedRun& run =
      *new TracedRun(Trace("tiny_llama.textproto", {"mesh.dp=2", "mesh.tp=2", "mesh.pp=2",
                                                    "train.micro_batch=2", "parallel.recompute=selective"}));
  return run;
}
// Experts dealt out over dp and a ring.
const TracedRun& Mixtral() {
  static const TracedRun& run =
      *new TracedRun(Trace("tiny_mixtral.textproto", {"mesh.dp=2", "mesh.cp=2", "mesh.tp=2", "mesh.ep=4",
                                                      "model.num_local_experts=4", "train.micro_batch=2"}));
  return run;
}

class TraceTest : public testing::Test {
 protected:
  explicit TraceTest(const TracedRun& run) : run_(run) {}

  // The complete events of a rank and step.
  std::vector<Json> Events(int rank, int step) const {
    std::vector<Json> events;
    for (const Json& event : run_.file["traceEvents"]) {
      if (event["ph"] == "X" && event["pid"] == rank && event["args"]["step"] == step)
        events.push_back(event);
    }
    return events;
  }
  std::string RowName(const Json& event) const {
    for (const Json& name : run_.file["traceEvents"]) {
      if (name["name"] == "thread_name" && name["pid"] == event["pid"] && name["tid"] == event["tid"]) {
        return name["args"]["name"];
      }
    }
    return "";
  }
  static double End(const Json& event) { return event["ts"].get<double>() + event["dur"].get<double>(); }

  const TracedRun& run_;
};

class StepTraceTest : public TraceTest, public testing::WithParamInterface<const TracedRun& (*)()> {
 protected:
  StepTraceTest() : TraceTest(GetParam()()) {}
};
INSTANTIATE_TEST_SUITE_P(Of, StepTraceTest, testing::Values(Llama, Mixtral),
                         [](const auto& info) { return info.index == 0 ? "llama" : "mixtral"; });

class LlamaTraceTest : public TraceTest {
 protected:
  LlamaTraceTest() : TraceTest(Llama()) {}
};
class MixtralTraceTest : public TraceTest {
 protected:
  MixtralTraceTest() : TraceTest(Mixtral()) {}
};

TEST_P(StepTraceTest, HasEveryOpOfThePlanOnceAMicroBatch) {
  for (int rank = 0; rank < kNumRanks; ++rank) {
    for (int step = kFirstStep; step <= kLastStep; ++step) {
      OpCounts found;
      for (const Json& event : Events(rank, step)) {
        const Json& a = event["args"];
        if (!a.contains("op")) continue;
        ++found[{a["program"], a["phase"], a["block"], a.value("micro_batch", -1), a["op"]}];
      }
      EXPECT_EQ(found, run_.expected[rank].ops) << "rank " << rank << " step " << step;
      EXPECT_FALSE(found.empty());
    }
  }
}

TEST_P(StepTraceTest, HasEveryMessageWithItsEndAndBytes) {
  for (int rank = 0; rank < kNumRanks; ++rank) {
    MessageCounts found;
    int waits = 0;
    for (const Json& event : Events(rank, kFirstStep)) {
      if (event["cat"] == "wait" && !event["args"].contains("op")) ++waits;
      if (event["cat"] != "message") continue;
      ++found[event["name"]];
      EXPECT_GT(event["args"]["bytes"], 0);
      EXPECT_GT(event["dur"], 0) << event;
    }
    EXPECT_EQ(found, run_.expected[rank].messages);
    EXPECT_EQ(waits, run_.expected[rank].waits);
  }
}

TEST_P(StepTraceTest, EventsOfARowNestOrFollowEachOther) {
  std::map<std::pair<int, int>, std::vector<double>> open;  // ends of those under way, by row
  for (const Json& event : run_.file["traceEvents"]) {
    if (event["ph"] != "X") continue;
    std::vector<double>& ends = open[{event["pid"], event["tid"]}];
    constexpr double kRounding = 1e-6;  // doubles of microseconds
    while (!ends.empty() && ends.back() <= event["ts"].get<double>() + kRounding) ends.pop_back();
    if (!ends.empty()) {
      EXPECT_LE(End(event), ends.back() + kRounding) << event;
    }
    ends.push_back(End(event));
  }
}

TEST_P(StepTraceTest, OpsLieWithinTheirSegment) {
  const Json* segment = nullptr;
  const std::vector<Json> events = Events(5, kLastStep);
  for (const Json& event : events) {
    if (event["cat"] == "segment") segment = &event;
    if (event["cat"] != "op" && event["cat"] != "collective") continue;
    ASSERT_NE(segment, nullptr);
    EXPECT_EQ(event["args"]["block"], (*segment)["args"]["block"]);
    EXPECT_GE(event["ts"].get<double>(), (*segment)["ts"].get<double>());
    EXPECT_LE(End(event), End(*segment) + 1e-6);
  }
}

TEST_F(LlamaTraceTest, ChannelsHaveRowsOfTheirOwn) {
  std::set<std::string> rows;
  for (const Json& event : Events(0, kFirstStep)) rows.insert(RowName(event));
  for (const char* name :
       {"compute", "host", "tp", "activations to the next stage", "gradients from the next stage"}) {
    EXPECT_EQ(rows.count(name), 1) << name;
  }
}

TEST_P(StepTraceTest, OnlyTheStepsAskedForAreThere) {
  std::set<int> steps;
  for (const Json& event : run_.file["traceEvents"]) {
    if (event["ph"] == "X") steps.insert(event["args"]["step"].get<int>());
  }
  EXPECT_EQ(steps, (std::set<int>{kFirstStep, kLastStep}));
}

TEST_F(LlamaTraceTest, NothingIsReceivedBeforeItWasSent) {
  // Rank 0 and rank 4 are the same place of stages 0 and 1.
  std::map<int, double> sent;
  for (const Json& event : Events(0, kFirstStep)) {
    if (event["name"] == "send") sent[event["args"]["micro_batch"]] = event["ts"];
  }
  int received = 0;
  for (const Json& event : Events(4, kFirstStep)) {
    if (event["name"] != "receive") continue;
    EXPECT_GT(End(event), sent.at(event["args"]["micro_batch"]));
    ++received;
  }
  EXPECT_EQ(received, 2);
}

TEST_F(MixtralTraceTest, ExpertsAndTheRingHaveRowsOfTheirOwn) {
  std::map<std::string, std::set<std::string>> of_rows;
  for (const Json& event : Events(5, kFirstStep)) {
    if (event["cat"] != "collective") continue;
    of_rows[RowName(event)].insert(event["name"].get<std::string>());
    const bool is_bound = event["name"] == "DispatchRows" || event["name"] == "ReturnRows";
    EXPECT_GT(event["args"][is_bound ? "bytes_at_most" : "bytes"], 0) << event;
  }
  EXPECT_EQ(of_rows["ep"], (std::set<std::string>{"DispatchRows", "ExchangeOffsets", "ReturnRows"}));
  EXPECT_EQ(of_rows["cp"].count("Shift"), 1);
  EXPECT_EQ(of_rows["tp"].count("AllReduce"), 1);
}

TEST_F(MixtralTraceTest, RanksAreNamedByTheirPlaceOnEveryAxis) {
  std::map<int, std::string> names;
  for (const Json& event : run_.file["traceEvents"]) {
    if (event["name"] == "process_name") names[event["pid"]] = event["args"]["name"];
  }
  EXPECT_EQ(names[0], "rank 0: dp 0, cp 0, tp 0, ep 0");
  EXPECT_EQ(names[7], "rank 7: dp 1, cp 1, tp 1, ep 3");
}

TEST(ClockOffsetTest, IsWhatTheClocksDifferBy) {
  RunThreadRanks(3, [](Communicator& world) {
    const double shift = 1000.0 * world.rank();
    EXPECT_NEAR(ClockOffset(world, [&] { return NowSeconds() + shift; }), shift, 0.05);
  });
}

TEST(TraceRequestTest, ReadsARangeOfSteps) {
  EXPECT_EQ(ReadTraceRequest("f", "3:5")->first, 3);
  EXPECT_EQ(ReadTraceRequest("f", "3:5")->last, 5);
  EXPECT_EQ(ReadTraceRequest("f", "7")->last, 7);
  for (const char* bad : {"5:3", "0:2", "x", "1:2:3", ":", "1:"}) {
    EXPECT_FALSE(ReadTraceRequest("f", bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace trireme
