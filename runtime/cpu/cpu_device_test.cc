#include "runtime/cpu/cpu_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/cpu/kernels.h"

namespace trireme {
namespace {

TEST(CpuDeviceTest, MemoryIsAlignedZeroedAndCounted) {
  CpuDevice device(1);
  for (int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{4097}, int64_t{5} << 20}) {
    const auto* block = static_cast<const char*>(device.Allocate(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0);
    for (int64_t i = 0; i < bytes; ++i) ASSERT_EQ(block[i], 0);
  }
  EXPECT_EQ(device.num_allocations(), 4);
}

TEST(CpuDeviceTest, NamesTheSizeThatItCannotGive) {
  CpuDevice device(1);
  EXPECT_DEATH(device.Allocate(int64_t{1} << 60), "no memory for a block of 1152921504606846976 bytes");
}

TEST(CpuDeviceTest, CopiesEvenWithinOverlappingBlocks) {
  CpuDevice device(1);
  auto* block = static_cast<char*>(device.Allocate(8));
  const StreamId stream = device.NewStream();
  device.CopyToDevice(block, "abcd", 4, stream);
  device.CopyWithin(block + 1, block, 4, stream);
  char host[5] = {};
  device.CopyToHost(host, block, 5, stream);
  device.StreamWait(0, device.Record(stream));
  device.Synchronize(stream);
  EXPECT_EQ(std::string(host, 5), "aabcd");
}

TEST(CpuDeviceTest, DescribesItsKernelsAndThreads) {
  EXPECT_THAT(CpuDevice(2).description(), testing::MatchesRegex("cpu \\(.+, 2 threads\\)"));
  EXPECT_STREQ(CpuDevice(1, KernelChoice::kPlain).description(), "cpu (plain kernels, 1 thread)");
}

TEST(CpuDeviceTest, LaunchesTheKernelsOfItsChoice) {
  CpuDevice fast(1);
  CpuDevice plain(1, KernelChoice::kPlain);
  EXPECT_EQ(&fast.kernel(OpKind::kGelu), &FastKernel(OpKind::kGelu));
  EXPECT_EQ(&plain.kernel(OpKind::kGelu), &PlainKernel(OpKind::kGelu));
  auto* x = static_cast<float*>(fast.Allocate(8));
  x[0] = 1;
  x[1] = 2;
  const Op op = {.kind = OpKind::kAdd, .attributes = {}};
  const View views[] = {{x, DType::kF32, {2}}, {x, DType::kF32, {2}}};
  fast.Launch(fast.kernel(OpKind::kAdd).run,
              {op, views, {views, 1}, false, nullptr, {}, {{0, 0, 0, 0}}, fast.num_threads()}, 0);
  EXPECT_EQ(x[0], 2);
  EXPECT_EQ(x[1], 4);
}

}  // namespace
}  // namespace trireme
