#include "parallel/host_staged_communicator.h"

#include <glog/logging.h>

#include <map>
#include <utility>
#include <vector>

#include "parallel/staging_pool.h"

namespace trireme {
namespace {

class HostStagedCommunicator : public Communicator {
 public:
  HostStagedCommunicator(Communicator& host, Device& device) : host_(host), device_(device) {}
  HostStagedCommunicator(std::unique_ptr<Communicator> host, Device& device)
      : owned_(std::move(host)), host_(*owned_), device_(device) {}

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }

  Ticket StartAllReduce(const void* in, void* out, int64_t count, DType dtype, ReduceOp op) override {
    return Collective(in, count, out, count, dtype, [&](const void* from, void* to) {
      return host_.StartAllReduce(from, to, count, dtype, op);
    });
  }

  Ticket StartAllGather(const void* in, void* out, int64_t count, DType dtype) override {
    return Collective(in, count, out, size() * count, dtype, [&](const void* from, void* to) {
      return host_.StartAllGather(from, to, count, dtype);
    });
  }

  Ticket StartReduceScatter(const void* in, void* out, int64_t count, DType dtype) override {
    return Collective(in, size() * count, out, count, dtype, [&](const void* from, void* to) {
      return host_.StartReduceScatter(from, to, count, dtype);
    });
  }

  Ticket StartAllToAll(const void* in, void* out, int64_t count, DType dtype) override {
    return Collective(in, size() * count, out, size() * count, dtype, [&](const void* from, void* to) {
      return host_.StartAllToAll(from, to, count, dtype);
    });
  }

  Ticket StartExchange(absl::Span<const Piece> sends, absl::Span<const Piece> receives,
                       DType dtype) override {
    Staging staging;
    std::vector<Piece> host_sends, host_receives;
    for (const Piece& piece : sends) {
      host_sends.push_back(
          {staging.Read(*this, piece.data, piece.count * SizeOf(dtype)), piece.count, piece.peer});
    }
    for (const Piece& piece : receives) {
      host_receives.push_back(
          {staging.Write(*this, piece.data, piece.count * SizeOf(dtype)), piece.count, piece.peer});
    }
    if (!sends.empty()) device_.Synchronize(0);
    return Started(host_.StartExchange(host_sends, host_receives, dtype), std::move(staging));
  }

  Ticket StartBroadcast(void* data, int64_t count, DType dtype, int root) override {
    Staging staging;
    void* const staged = staging.Write(*this, data, count * SizeOf(dtype));
    if (rank() == root) Fetch(staged, data, count * SizeOf(dtype));
    return Started(host_.StartBroadcast(staged, count, dtype, root), std::move(staging));
  }

  Ticket StartSend(const void* data, int64_t count, DType dtype, int peer) override {
    Staging staging;
    const void* const staged = staging.Read(*this, data, count * SizeOf(dtype));
    device_.Synchronize(0);
    return Started(host_.StartSend(staged, count, dtype, peer), std::move(staging));
  }

  Ticket StartReceive(void* data, int64_t count, DType dtype, int peer) override {
    Staging staging;
    void* const staged = staging.Write(*this, data, count * SizeOf(dtype));
    return Started(host_.StartReceive(staged, count, dtype, peer), std::move(staging));
  }

  void Wait(Ticket ticket) override {
    host_.Wait(ticket);
    const auto under_way = under_way_.find(ticket);
    if (under_way == under_way_.end()) return;  // its results are there since Start
    Finish(under_way->second);
    under_way_.erase(under_way);
  }

  void Progress() override { host_.Progress(); }

  void Barrier() override {
    device_.Synchronize(0);
    host_.Barrier();
  }

  std::unique_ptr<Communicator> Split(int color, int key) override {
    std::unique_ptr<Communicator> part = host_.Split(color, key);
    if (part == nullptr) return nullptr;
    return std::make_unique<HostStagedCommunicator>(std::move(part), device_);
  }

 private:
  // Of one operation: its buffers on the host, and what goes back to the device when it is complete.
  struct Staging {
    struct Result {
      void* device;
      const void* host;
      int64_t bytes;
    };
    std::vector<StagingPool::Buffer> buffers;
    std::vector<Result> results;

    // A copy of device memory, complete once the compute stream is synchronized.
    void* Read(HostStagedCommunicator& owner, const void* device, int64_t bytes) {
      void* const host = buffers.emplace_back(owner.pool_.Take(bytes)).data();
      if (bytes > 0) owner.device_.CopyToHost(host, device, bytes, 0);
      return host;
    }

    void* Write(HostStagedCommunicator& owner, void* device, int64_t bytes) {
      void* const host = buffers.emplace_back(owner.pool_.Take(bytes)).data();
      results.push_back({device, host, bytes});
      return host;
    }
  };

  template <typename Start>
  Ticket Collective(const void* in, int64_t in_count, void* out, int64_t out_count, DType dtype,
                    const Start& start) {
    Staging staging;
    const void* const from = staging.Read(*this, in, in_count * SizeOf(dtype));
    void* const to = staging.Write(*this, out, out_count * SizeOf(dtype));
    device_.Synchronize(0);
    return Started(start(from, to), std::move(staging));
  }

  void Fetch(void* host, const void* device, int64_t bytes) {
    if (bytes > 0) device_.CopyToHost(host, device, bytes, 0);
    device_.Synchronize(0);
  }

  Ticket Started(Ticket ticket, Staging staging) {
    if (ticket == 0) {
      Finish(staging);
    } else {
      under_way_.emplace(ticket, std::move(staging));
    }
    return ticket;
  }

  void Finish(const Staging& staging) {
    for (const Staging::Result& result : staging.results) {
      if (result.bytes > 0) device_.CopyToDevice(result.device, result.host, result.bytes, 0);
    }
  }

  const std::unique_ptr<Communicator> owned_;  // null where the host's communicator is somebody else's
  Communicator& host_;
  Device& device_;
  StagingPool pool_;
  std::map<Ticket, Staging> under_way_;  // after the pool, which its buffers go back to
};

}  // namespace

std::unique_ptr<Communicator> StageThroughHost(Communicator& host, Device& device) {
  return std::make_unique<HostStagedCommunicator>(host, device);
}

}  // namespace trireme
