// Every CUDA kernel against its definition, run by the emulator (tests/emulator): forward, so that low
// threads and blocks run first, in reverse, and in a random order; or by a GPU (cuda_tests).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/cpu/kernel_cases.h"
#include "runtime/cpu/kernels.h"
#include "runtime/cuda/gemm.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/kernels.h"
#include "runtime/cuda_backend.h"
#include "runtime/op_table.h"
#include "runtime/ops/gradient_grid.h"
#include "tests/emulator/every_order.h"
#include "tests/kernel_device.h"

namespace trireme {
namespace {

constexpr DType kComputeTypes[] = {DType::kF32, DType::kBF16};

class EmulatedKernelTest : public testing::TestWithParam<KernelCase> {
 protected:
  const KernelEntry& entry() const { return CudaKernel(GetParam().kind); }
};

TEST_P(EmulatedKernelTest, MatchesItsDefinitionInEveryOrderWithTheSameBits) {
  for (DType compute : kComputeTypes) {
    ExpectDefined(GetParam(), entry(), {.compute = compute, .device = KernelDevice()});
    const std::vector<TestTensor> forward =
        RunCase(entry(), GetParam(), {.compute = compute, .device = KernelDevice()});
    InEveryOrder([&] {
      const std::vector<TestTensor> again =
          RunCase(entry(), GetParam(), {.compute = compute, .device = KernelDevice()});
      for (size_t i = 0; i < again.size(); ++i) {
        EXPECT_TRUE(again[i].SameBits(forward[i])) << "output " << i << " in " << Name(compute);
      }
    });
  }
}

TEST_P(EmulatedKernelTest, MatchesItsDefinitionWhereNoOperandIsAlignedForVectors) {
  for (DType compute : kComputeTypes)
    ExpectDefined(GetParam(), entry(), {.compute = compute, .offset = 1, .device = KernelDevice()});
}

// A graph replays what a launcher enqueued once. So what it enqueues, kernels and all their arguments by
// value, follows from the KernelArguments alone, whatever was run before.
Kernel launched_by_graph = nullptr;

void LaunchByGraph(const KernelArguments& arguments) {
  auto stream = static_cast<cudaStream_t>(arguments.stream);
  const bool own = stream == nullptr;  // in the emulator, where tests launch without a device
  if (own) {
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  }
  KernelArguments here = arguments;
  here.stream = stream;
  cudaGraph_t graphs[2];
  for (cudaGraph_t& graph : graphs) {
    ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    launched_by_graph(here);
    ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  }
#ifndef TRIREME_GPU_TESTS
  const std::vector<emulator::GraphNode>&first = emulator::NodesOf(graphs[0]),
        &second = emulator::NodesOf(graphs[1]);
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(first[i].SameWork(second[i])) << first[i].name;
#endif
  cudaGraphExec_t ready = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&ready, graphs[0], 0), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(ready, stream), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(ready), cudaSuccess);
  for (cudaGraph_t graph : graphs) EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  if (own) {
    EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  }
}

TEST_P(EmulatedKernelTest, AGraphOfItDoesTheSame) {
  launched_by_graph = entry().run;
  for (DType compute : kComputeTypes) {
    const RunOptions options = {.compute = compute, .device = KernelDevice()};
    const std::vector<TestTensor> launched = RunCase(entry(), GetParam(), options);
    const std::vector<TestTensor> replayed =
        RunCase({LaunchByGraph, entry().workspace_bytes}, GetParam(), options);
    ASSERT_EQ(launched.size(), replayed.size());
    for (size_t i = 0; i < launched.size(); ++i) {
      EXPECT_TRUE(replayed[i].SameBits(launched[i])) << "output " << i << " in " << Name(compute);
    }
  }
}

// Small enough for the race checker.
TEST(EmulatedAlibiTest, EveryKernelWithSlopesMatchesItsDefinitionOnce) {
  for (KernelCase c :
       {AlibiAttentionCase(70, {2, 1, 5}), AlibiAttentionGradCase(70, {2, 1, 5}),
        AlibiBlockAttentionCase(70, {2, 1, 5}, true), AlibiBlockAttentionGradCase(70, {2, 1, 5}, true)}) {
    RoundOperands(&c);
    ExpectDefined(c, CudaKernel(c.kind), {.device = KernelDevice()});
  }
}

class OverwritingEmulatedKernelTest : public EmulatedKernelTest {};

TEST_P(OverwritingEmulatedKernelTest, MayOverwriteTheInputThatTheTableNames) {
  for (DType compute : kComputeTypes) {
    InEveryOrder([&] {
      ExpectSameBits(GetParam(), entry(), {.compute = compute, .device = KernelDevice()},
                     {.compute = compute, .in_place = true, .device = KernelDevice()});
    });
  }
}

class AccumulatingEmulatedKernelTest : public EmulatedKernelTest {};

TEST_P(AccumulatingEmulatedKernelTest, AddsToParameterGradientsOnly) {
  for (DType compute : kComputeTypes) {
    ExpectAddsToParameterGradientsOnly(GetParam(), entry(), {.compute = compute, .device = KernelDevice()});
  }
}

std::string CaseName(const testing::TestParamInfo<KernelCase>& info) {
  return absl::StrCat(info.param.name, "_n", info.index);
}

template <typename Wanted>
std::vector<KernelCase> CasesWhere(Wanted wanted) {
  std::vector<KernelCase> cases = AllKernelCases();
  for (KernelCase& wide : WideKernelCases()) cases.push_back(std::move(wide));
  cases.erase(std::remove_if(cases.begin(), cases.end(),
                             [&](const KernelCase& c) { return !wanted(Definition(c.kind)); }),
              cases.end());
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Every, EmulatedKernelTest,
                         testing::ValuesIn(CasesWhere([](const OpDefinition&) { return true; })), CaseName);
INSTANTIATE_TEST_SUITE_P(
    Every, OverwritingEmulatedKernelTest,
    testing::ValuesIn(CasesWhere([](const OpDefinition& d) { return d.overwrites >= 0; })), CaseName);
INSTANTIATE_TEST_SUITE_P(
    Every, AccumulatingEmulatedKernelTest,
    testing::ValuesIn(CasesWhere([](const OpDefinition& d) { return d.accumulates != 0; })), CaseName);

TEST(EmulatedKernelsTest, ExistForEveryKindThatTheCpuHasAKernelFor) {
  for (int i = 0; i < kNumOpKinds; ++i) {
    const auto kind = static_cast<OpKind>(i);
    const bool none = Definition(kind).communicates || kind == OpKind::kRelabel || Definition(kind).composite;
    if (none) {
      EXPECT_DEATH(CudaKernel(kind), "has no kernel");
    } else {
      EXPECT_NE(CudaKernel(kind).run, nullptr);
    }
  }
}

// A step whose gradient is not finite is skipped: that only works if nothing on the way hides a NaN.
TEST(EmulatedKernelsTest, PassOnANaN) {
  for (const KernelCase& c : CasesWithANaN()) {
    for (DType compute : kComputeTypes)
      ExpectGivesANaN(c, CudaKernel(c.kind), {.compute = compute, .device = KernelDevice()});
  }
}

// Sums that bf16 has to round: the norm sees what is stored. Rows in registers and wider ones.
TEST(EmulatedKernelsTest, AnAdditionAndItsNormHaveTheBitsOfBothApart) {
  for (const int64_t cols : {129, 16400}) {
    for (KernelCase c : {AddRmsNormCase(3, cols), AddLayerNormCase(3, cols)}) {
      c.inputs[0] = RandomOperand(Role::kCompute, {3, cols}, 21);
      for (DType compute : kComputeTypes) {
        ExpectSameBitsAsApart(c, CudaKernel, {.compute = compute, .device = KernelDevice()});
      }
    }
  }
}

TEST(EmulatedKernelsTest, AMatrixsGradientMayPassWhileItsBiasIsAddedTo) {
  const KernelCase c = LinearWeightBiasGradCase(17, 9, 24);
  for (DType compute : kComputeTypes) {
    ExpectAddsToTheBiasAlone(c, CudaKernel(c.kind), {.compute = compute, .device = KernelDevice()});
  }
}

#ifndef TRIREME_GPU_TESTS  // where algorithms are the library's own: there EmulatedChoicesTest runs what it
                           // times
// What is chosen for a product with its epilogue, then the op.
Kernel launched_in_one = nullptr;
GemmLibrary* told_to = nullptr;
std::set<GemmEpilogue> told_in_one;

void LaunchInOne(const KernelArguments& arguments) {
  for (const GemmUse& use : GemmsOf(arguments)) {
    if (use.problem.spec.epilogue == GemmEpilogue::kNone) continue;
    const bool may = MayAskForEpilogue(use.problem.spec, use.problem.alignment);
    told_to->Use(use.problem, may ? "wide" : "");
    if (may) told_in_one.insert(use.problem.spec.epilogue);
  }
  launched_in_one(arguments);
}

// On a thread of its own, as choices are a thread's.
TEST(EmulatedKernelsTest, AnEpilogueInOneWithItsProductMatchesTheDefinition) {
  std::thread([] {
    const std::unique_ptr<Device> device = *OpenCudaDevice(0);
    const std::unique_ptr<GemmLibrary> library = OpenCudaGemmLibrary(*device);
    told_to = library.get();
    for (KernelCase& c : FusedProductKernelCases()) {
      RoundOperands(&c);
      launched_in_one = CudaKernel(c.kind).run;
      const KernelEntry entry = {LaunchInOne, CudaKernel(c.kind).workspace_bytes};
      for (DType compute : kComputeTypes) {
        ExpectDefined(c, entry, {.compute = compute});
        ExpectDefined(c, entry, {.compute = compute, .offset = 1});
        if (Definition(c.kind).accumulates == 0) continue;
        ExpectAddsToParameterGradientsOnly(c, entry, {.compute = compute});
        ExpectAddsToTheBiasAlone(c, entry, {.compute = compute});
      }
    }
  }).join();
  EXPECT_EQ(told_in_one.size(), 4) << "kinds of epilogue";
}
#endif

TEST(EmulatedKernelsTest, AdamWRoundsAsTheDefinitionDoes) {
  for (int64_t n : {1, 17, 40000}) {
    const KernelCase c = RoundedAdamWCase(n, true);
    const std::vector<TestTensor> wanted = RunCase(PlainKernel(c.kind), c, {.compute = DType::kBF16});
    for (int offset : {0, 1}) {
      const RunOptions options = {.compute = DType::kBF16, .offset = offset, .device = KernelDevice()};
      EXPECT_TRUE(RunCase(CudaKernel(c.kind), c, options)[0].SameBits(wanted[0])) << n << " " << offset;
    }
  }
}

TEST(EmulatedKernelsTest, DropoutKeepsWhatTheDefinitionKeeps) {
  for (const int64_t cols : {1000, 1001}) {
    const KernelCase c = DropoutCase(33, cols);
    for (DType compute : kComputeTypes) {
      const std::vector<double> plain = RunCase(PlainKernel(c.kind), c, {.compute = compute})[0].Doubles();
      const std::vector<double> cuda =
          RunCase(CudaKernel(c.kind), c, {.compute = compute, .device = KernelDevice()})[0].Doubles();
      for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(plain[i] == 0, cuda[i] == 0) << i;
    }
  }
}

// Tolerances hide a limb, and a rounding.
TEST(EmulatedKernelsTest, GradientsOnAGridHaveTheBitsOfTheirDefinition) {
  const auto expect_same = [](const KernelCase& c, RunOptions options) {
    const std::vector<TestTensor> wanted = RunCase(PlainKernel(c.kind), c, options);
    options.device = KernelDevice();
    for (const int offset : {0, 1}) {
      options.offset = offset;
      const std::vector<TestTensor> found = RunCase(CudaKernel(c.kind), c, options);
      for (size_t i = 0; i < wanted.size(); ++i) {
        EXPECT_TRUE(found[i].SameBits(wanted[i])) << c.name << ", output " << i << ", offset " << offset;
      }
    }
  };
  for (const KernelCase& c : GridKernelCases()) {
    for (const bool accumulate : {false, true}) {
      expect_same(c, {.compute = DType::kF32, .accumulate = accumulate, .before = 5});
    }
  }
  // Sums of many ranks, which are not carried, and may be negative where these deal out more than they have.
  for (int seed = 0; seed < 20; ++seed) {
    KernelCase c = GridNormCase(false);
    c.inputs[0].values = Integers(kGridSums, seed, -(int64_t{1} << 45), int64_t{1} << 55);
    c.inputs[0].values[kGridLimbs] = 0;
    expect_same(c, {.compute = DType::kF32});
  }
}

// Where a large exponent, an infinity or a row of nothing but -inf must not make a NaN.
TEST(EmulatedKernelsTest, SoftmaxOfLogitsThatAreMinusInfinityHasNoNaN) {
  KernelCase c = SoftmaxStatisticsCase(3, 2001, 1);
  std::fill_n(c.inputs[0].values.begin(), 1990, -HUGE_VAL);
  c.inputs[1].values[0] = 1995;
  RoundOperands(&c);
  for (DType compute : kComputeTypes)
    ExpectDefined(c, CudaKernel(c.kind), {.compute = compute, .device = KernelDevice()});
}

}  // namespace
}  // namespace trireme
