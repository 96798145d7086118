#include "parallel/host_staged_communicator.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <memory>
#include <vector>

#include "parallel/communicator_checks.h"
#include "parallel/thread_communicator.h"
#include "runtime/cpu/cpu_device.h"

namespace trireme {
namespace {

using Check = void (*)(Communicator& group);

class HostStagedTest : public testing::TestWithParam<Check> {};

TEST_P(HostStagedTest, DoesWhatItsHostDoes) {
  for (const int num_ranks : {1, 4}) {
    for (const bool rendezvous : {false, true}) {
      RunThreadRanks(num_ranks,
                     [](Communicator& world) {
                       CpuDevice device(1);
                       GetParam()(*StageThroughHost(world, device));
                     },
                     {.rendezvous_sends = rendezvous});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, HostStagedTest,
                         testing::Values(CheckAllReduce, CheckAllGather, CheckReduceScatter, CheckAllToAll,
                                         CheckExchange, CheckBroadcast, CheckSendAndReceive, CheckManyAtOnce,
                                         CheckSplit));

// A device whose memory nobody may touch but its own copies, and whose copies to the host are done when it is
// synchronized and no earlier.
class DistantDevice : public CpuDevice {
 public:
  DistantDevice() : CpuDevice(1) {
    memory_ = static_cast<float*>(mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  ~DistantDevice() override { munmap(memory_, kBytes); }
  float* memory() const { return memory_; }

  void CopyToDevice(void* device, const void* host, int64_t bytes, StreamId stream) override {
    Open(true);
    CpuDevice::CopyToDevice(device, host, bytes, stream);
    Open(false);
  }
  void CopyToHost(void* host, const void* device, int64_t bytes, StreamId) override {
    copies_.push_back({host, device, bytes});
  }
  void Synchronize(StreamId stream) override {
    Open(true);
    for (const Copy& copy : copies_) CpuDevice::CopyToHost(copy.host, copy.device, copy.bytes, stream);
    Open(false);
    copies_.clear();
  }

 private:
  struct Copy {
    void* host;
    const void* device;
    int64_t bytes;
  };
  static constexpr size_t kBytes = 4096;

  void Open(bool open) { mprotect(memory_, kBytes, open ? PROT_READ | PROT_WRITE : PROT_NONE); }

  float* memory_;
  std::vector<Copy> copies_;
};

// Device memory of rank r: r + 1 in its first `kCount` floats, zeros behind.
TEST(HostStagedTest, LeavesDeviceMemoryToTheDevice) {
  constexpr int kRanks = 3;
  constexpr int64_t kCount = 5;
  RunThreadRanks(kRanks, [](Communicator& thread_world) {
    DistantDevice device;
    const std::unique_ptr<Communicator> world = StageThroughHost(thread_world, device);
    const int rank = world->rank();
    const std::vector<float> mine(kRanks * kCount, static_cast<float>(rank + 1));
    float* const in = device.memory();
    float* const out = in + kRanks * kCount;
    const auto found = [&](int64_t count) {
      std::vector<float> result(count);
      device.CopyToHost(result.data(), out, static_cast<int64_t>(count * sizeof(float)), 0);
      device.Synchronize(0);
      return result;
    };
    device.CopyToDevice(in, mine.data(), static_cast<int64_t>(mine.size() * sizeof(float)), 0);

    world->AllReduce(in, out, kCount, DType::kF32, ReduceOp::kSum);
    EXPECT_EQ(found(kCount), std::vector<float>(kCount, 6));
    world->Wait(world->StartReduceScatter(in, out, kCount, DType::kF32));
    EXPECT_EQ(found(kCount), std::vector<float>(kCount, 6));
    world->AllGather(in, out, 1, DType::kF32);
    EXPECT_EQ(found(3), (std::vector<float>{1, 2, 3}));
    world->Wait(world->StartAllToAll(in, out, 1, DType::kF32));
    EXPECT_EQ(found(3), (std::vector<float>{1, 2, 3}));
    const int next = (rank + 1) % kRanks;
    const int previous = (rank + kRanks - 1) % kRanks;
    const Communicator::Ticket received = world->StartReceive(out, kCount, DType::kF32, previous);
    world->Wait(world->StartSend(in, kCount, DType::kF32, next));
    world->Wait(received);
    EXPECT_EQ(found(kCount), std::vector<float>(kCount, static_cast<float>(previous + 1)));
    const Communicator::Piece sends[] = {{in, 2, previous}};
    const Communicator::Piece receives[] = {{out, 2, next}};
    world->Wait(world->StartExchange(sends, receives, DType::kF32));
    EXPECT_EQ(found(2), std::vector<float>(2, static_cast<float>(next + 1)));
    world->Broadcast(in, kCount, DType::kF32, 1);
    world->AllReduce(in, out, kCount, DType::kF32, ReduceOp::kSum);
    EXPECT_EQ(found(kCount), std::vector<float>(kCount, 6));
    world->Barrier();
  });
}

}  // namespace
}  // namespace trireme
