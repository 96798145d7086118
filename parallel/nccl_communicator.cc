#include "parallel/nccl_communicator.h"

#include <glog/logging.h>
#include <nccl.h>

#include <chrono>
#include <cstring>
#include <deque>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "parallel/nccl_ledger.h"

namespace trireme {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ncclDataType_t TypeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return ncclFloat32;
    case DType::kBF16:
      return ncclBfloat16;
    case DType::kF64:
      return ncclFloat64;
    case DType::kI32:
      return ncclInt32;
    case DType::kI64:
      return ncclInt64;
    case DType::kU8:
      return ncclUint8;
  }
  LOG(FATAL) << "NCCL has no " << Name(dtype);
}

ncclConfig_t NonBlocking() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

// A non-blocking call only starts. Returns how it ended, or ncclInProgress after the deadline.
ncclResult_t Settle(ncclComm_t comm, ncclResult_t result, double deadline_seconds) {
  const double begin = Now();
  while (result == ncclInProgress) {
    if (ncclCommGetAsyncError(comm, &result) != ncclSuccess) return ncclInternalError;
    if (result != ncclInProgress) break;
    if (Now() - begin > deadline_seconds) break;
    std::this_thread::sleep_for(std::chrono::microseconds(10));
  }
  return result;
}

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(ncclComm_t comm, Device& device, const NcclOptions& options)
      : comm_(comm),
        device_(device),
        options_(options),
        stream_(device.NewStream()),
        scratch_(static_cast<float*>(device.Allocate(sizeof(float)))) {
    CHECK(ncclCommUserRank(comm, &rank_) == ncclSuccess && ncclCommCount(comm, &size_) == ncclSuccess);
  }

  ~NcclCommunicator() override {
    device_.Synchronize(stream_);
    Settle(comm_, ncclCommFinalize(comm_), options_.deadline_seconds);
    ncclCommDestroy(comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int stream() const override { return stream_; }

  Ticket StartAllReduce(const void* in, void* out, int64_t count, DType dtype, ReduceOp op) override {
    return Start("all-reduce", count, dtype, [&](cudaStream_t stream) {
      return ncclAllReduce(in, out, count, TypeOf(dtype), op == ReduceOp::kSum ? ncclSum : ncclMax, comm_,
                           stream);
    });
  }

  Ticket StartAllGather(const void* in, void* out, int64_t count, DType dtype) override {
    return Start("all-gather", count, dtype, [&](cudaStream_t stream) {
      return ncclAllGather(in, out, count, TypeOf(dtype), comm_, stream);
    });
  }

  Ticket StartReduceScatter(const void* in, void* out, int64_t count, DType dtype) override {
    return Start("reduce-scatter", count, dtype, [&](cudaStream_t stream) {
      return ncclReduceScatter(in, out, count, TypeOf(dtype), ncclSum, comm_, stream);
    });
  }

  Ticket StartAllToAll(const void* in, void* out, int64_t count, DType dtype) override {
    return Start("all-to-all", count, dtype, [&](cudaStream_t stream) {
      const int64_t bytes = count * SizeOf(dtype);
      ncclResult_t result = ncclGroupStart();
      for (int peer = 0; peer < size_ && result == ncclSuccess; ++peer) {
        result =
            ncclSend(static_cast<const char*>(in) + peer * bytes, count, TypeOf(dtype), peer, comm_, stream);
        if (result != ncclSuccess && result != ncclInProgress) break;
        result = ncclRecv(static_cast<char*>(out) + peer * bytes, count, TypeOf(dtype), peer, comm_, stream);
        if (result == ncclInProgress) result = ncclSuccess;
      }
      const ncclResult_t ended = ncclGroupEnd();
      return result == ncclSuccess ? ended : result;
    });
  }

  Ticket StartExchange(absl::Span<const Piece> sends, absl::Span<const Piece> receives,
                       DType dtype) override {
    int64_t count = 0;
    for (const Piece& piece : sends) count += piece.count;
    for (const Piece& piece : receives) count += piece.count;
    return Start("exchange", count, dtype, [&](cudaStream_t stream) {
      ncclResult_t result = ncclGroupStart();
      const auto issue = [&result](ncclResult_t issued) {
        if (result == ncclSuccess && issued != ncclInProgress) result = issued;
      };
      for (const Piece& piece : sends) {
        issue(ncclSend(piece.data, piece.count, TypeOf(dtype), piece.peer, comm_, stream));
      }
      for (const Piece& piece : receives) {
        issue(ncclRecv(piece.data, piece.count, TypeOf(dtype), piece.peer, comm_, stream));
      }
      const ncclResult_t ended = ncclGroupEnd();
      return result == ncclSuccess ? ended : result;
    });
  }

  Ticket StartBroadcast(void* data, int64_t count, DType dtype, int root) override {
    return Start("broadcast", count, dtype, [&](cudaStream_t stream) {
      return ncclBroadcast(data, data, count, TypeOf(dtype), root, comm_, stream);
    });
  }

  Ticket StartSend(const void* data, int64_t count, DType dtype, int peer) override {
    return Start("send", count, dtype, [&](cudaStream_t stream) {
      return ncclSend(data, count, TypeOf(dtype), peer, comm_, stream);
    });
  }

  Ticket StartReceive(void* data, int64_t count, DType dtype, int peer) override {
    return Start("receive", count, dtype, [&](cudaStream_t stream) {
      return ncclRecv(data, count, TypeOf(dtype), peer, comm_, stream);
    });
  }

  void Wait(Ticket ticket) override {
    if (ticket == 0) return;
    for (const Pending& pending : pending_) {
      if (pending.ticket == ticket) {
        device_.StreamWait(0, pending.event);
        return;
      }
    }
    // Not among those under way: it is done, and so nothing has to wait for it.
    CHECK_LE(ticket, ledger_.last_done()) << "a ticket that was never given";
  }

  void Progress() override {
    while (!pending_.empty() && device_.Done(pending_.front().event)) {
      ledger_.Done(pending_.front().ticket, Now());
      pending_.pop_front();
    }
    if (pending_.empty()) return;
    ncclResult_t error = ncclSuccess;
    if (ncclCommGetAsyncError(comm_, &error) != ncclSuccess ||
        (error != ncclSuccess && error != ncclInProgress)) {
      Fail(absl::StrCat("NCCL reports: ", ncclGetErrorString(error)));
    }
    if (ledger_.StalledSeconds(Now()) > options_.deadline_seconds) {
      Fail(absl::StrCat("nothing completed for ", options_.deadline_seconds, " s"));
    }
  }

  void Barrier() override {
    Wait(StartAllReduce(scratch_, scratch_, 1, DType::kF32, ReduceOp::kSum));
    while (!pending_.empty()) Progress();
  }

  std::unique_ptr<Communicator> Split(int color, int key) override {
    ncclComm_t comm = nullptr;
    ncclConfig_t config = NonBlocking();
    ncclResult_t result =
        Settle(comm_, ncclCommSplit(comm_, color < 0 ? NCCL_SPLIT_NOCOLOR : color, key, &comm, &config),
               options_.deadline_seconds);
    if (result == ncclSuccess && comm != nullptr)
      result = Settle(comm, ncclInProgress, options_.deadline_seconds);
    CHECK(result == ncclSuccess) << "NCCL cannot split a communicator: " << ncclGetErrorString(result);
    if (color < 0) return nullptr;
    return std::make_unique<NcclCommunicator>(comm, device_, options_);
  }

 private:
  struct Pending {
    Ticket ticket;
    EventId event;
  };

  // Behind the compute stream's work so far, on this communicator's own stream.
  template <typename Call>
  Ticket Start(const char* name, int64_t count, DType dtype, const Call& call) {
    if (count == 0) return 0;
    device_.StreamWait(stream_, device_.Record(0));
    const Ticket ticket = ledger_.Start(name, count, dtype, Now());
    const ncclResult_t result =
        Settle(comm_, call(static_cast<cudaStream_t>(device_.native(stream_))), options_.deadline_seconds);
    if (result != ncclSuccess) Fail(absl::StrCat("NCCL cannot start it: ", ncclGetErrorString(result)));
    pending_.push_back({ticket, device_.Record(stream_)});
    return ticket;
  }

  [[noreturn]] void Fail(const std::string& reason) {
    const std::string report = ledger_.Report(Now());
    ncclCommAbort(comm_);
    LOG(FATAL) << "rank " << rank_ << " of " << size_ << ": " << reason << "\n"
               << report << "the rank that has not started the oldest of these is the one to look at";
    std::abort();
  }

  ncclComm_t comm_;
  Device& device_;
  const NcclOptions options_;
  const StreamId stream_;
  float* const scratch_;
  int rank_ = 0;
  int size_ = 0;
  CollectiveLedger ledger_;
  std::deque<Pending> pending_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclWorld(Communicator& bootstrap, Device& device,
                                                              const NcclOptions& options) {
  ncclUniqueId id;
  std::memset(&id, 0, sizeof(id));
  ncclResult_t result = bootstrap.rank() == 0 ? ncclGetUniqueId(&id) : ncclSuccess;
  // Rank 0 must reach the broadcast whatever happened, or the others wait for ever.
  int32_t status = result;
  bootstrap.Broadcast(&status, 1, DType::kI32, 0);
  bootstrap.Broadcast(&id, sizeof(id), DType::kU8, 0);
  ncclComm_t comm = nullptr;
  if (status == ncclSuccess) {
    ncclConfig_t config = NonBlocking();
    result = ncclCommInitRankConfig(&comm, bootstrap.size(), id, bootstrap.rank(), &config);
    if (comm != nullptr) result = Settle(comm, result, options.deadline_seconds);
    status = result;
  }
  if (status != ncclSuccess) {
    return absl::UnavailableError(absl::StrCat(
        "NCCL cannot connect the GPUs of the ", bootstrap.size(),
        " ranks: ", ncclGetErrorString(static_cast<ncclResult_t>(status)), "; NCCL_DEBUG=INFO says more"));
  }
  return std::make_unique<NcclCommunicator>(comm, device, options);
}

}  // namespace trireme
