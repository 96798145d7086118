#include "parallel/mpi_communicator.h"

#include <glog/logging.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "parallel/message_lane.h"
#include "parallel/self_communicator.h"
#include "parallel/staging_pool.h"

namespace trireme {
namespace {

// Messages between two ranks carry the tag of their lane, so that those of operations under way at once do
// not meet. Point-to-point messages share one tag: MPI keeps their order. Tags are used again after so many
// lanes.
constexpr int kPointToPointTag = 0;
constexpr int kNumLaneTags = 16384;  // the standard promises 32767

constexpr auto kLongWait = std::chrono::seconds(60);

// A ticket.
struct Operation {
  std::string name;
  MessageLanes
      lanes;  // kept until the wait, so that staging is taken and given back in the order of the program
  int lanes_under_way = 0;
};

}  // namespace

// All requests of this process. One for all communicators, because waiting on one must move the others'
// phases ahead: another rank may wait for those first.
class MpiEnvironment::Engine {
 public:
  explicit Engine(const MpiOptions& options) : options_(options) {}

  // `work` and `lane` stay where they are until the lane is through.
  void Start(MPI_Comm comm, int tag, MessageLane& lane, Operation& work) {
    ++work.lanes_under_way;
    Continue(new LaneUnderWay{comm, tag, &lane, &work});
  }

  // Moves everything ahead. False if nothing had happened since.
  bool Progress();

  // Progresses until `done`; `name` is what a long wait is reported as.
  void WaitUntil(const std::function<bool()>& done, const std::string& name);

  const MpiOptions& options() const { return options_; }
  StagingPool& staging() { return staging_; }
  const StagingPool& staging() const { return staging_; }

 private:
  struct LaneUnderWay {
    MPI_Comm comm;
    int tag;
    MessageLane* lane;
    Operation* work;
    int num_requests = 0;
  };

  // What stands beside a request of the same index.
  struct Transfer {
    LaneUnderWay* lane;
    int expected_bytes;  // of a receive; -1 for a send
    int peer;
  };

  void Continue(LaneUnderWay* lane);
  void Post(LaneUnderWay* lane, const LaneMessage& message);
  void CheckLength(const Transfer& transfer, const MPI_Status& status) const;
  void Forget(int num_done);

  const MpiOptions options_;
  StagingPool staging_;
  std::vector<MPI_Request> requests_;
  std::vector<Transfer> transfers_;
  // Kept between calls to spare allocations.
  std::vector<int> done_;
  std::vector<MPI_Status> statuses_;
  std::vector<LaneUnderWay*> ready_;
  std::vector<LaneMessage> messages_;
};

// Starts phases until one has messages, or the lane is through.
void MpiEnvironment::Engine::Continue(LaneUnderWay* lane) {
  messages_.clear();
  while (lane->lane->Next(messages_)) {
    if (messages_.empty()) continue;
    for (const LaneMessage& message : messages_) Post(lane, message);
    return;
  }
  --lane->work->lanes_under_way;
  delete lane;
}

void MpiEnvironment::Engine::Post(LaneUnderWay* lane, const LaneMessage& message) {
  for (int64_t begin = 0; begin < message.bytes; begin += options_.max_message_bytes) {
    const int bytes = static_cast<int>(std::min(options_.max_message_bytes, message.bytes - begin));
    char* data = static_cast<char*>(message.data) + begin;
    MPI_Request& request = requests_.emplace_back(MPI_REQUEST_NULL);
    if (message.is_send) {
      MPI_Isend(data, bytes, MPI_BYTE, message.peer, lane->tag, lane->comm, &request);
    } else {
      MPI_Irecv(data, bytes, MPI_BYTE, message.peer, lane->tag, lane->comm, &request);
    }
    transfers_.push_back({lane, message.is_send ? -1 : bytes, message.peer});
    ++lane->num_requests;
  }
}

bool MpiEnvironment::Engine::Progress() {
  if (requests_.empty()) return false;
  const int num_requests = static_cast<int>(requests_.size());
  done_.resize(num_requests);
  statuses_.resize(num_requests);
  int num_done = 0;
  MPI_Testsome(num_requests, requests_.data(), &num_done, done_.data(), statuses_.data());
  if (num_done == 0) return false;
  for (int i = 0; i < num_done; ++i) {
    const Transfer& transfer = transfers_[done_[i]];
    CheckLength(transfer, statuses_[i]);
    if (--transfer.lane->num_requests == 0) ready_.push_back(transfer.lane);
  }
  Forget(num_done);
  for (LaneUnderWay* lane : ready_) Continue(lane);
  ready_.clear();
  return true;
}

void MpiEnvironment::Engine::CheckLength(const Transfer& transfer, const MPI_Status& status) const {
  if (transfer.expected_bytes < 0) return;
  int bytes = 0;
  MPI_Get_count(&status, MPI_BYTE, &bytes);
  CHECK_EQ(bytes, transfer.expected_bytes) << "in " << transfer.lane->work->name << ", rank " << transfer.peer
                                           << " sent another number of bytes than expected";
}

// Removes the requests listed in `done_`, from the last on, so that those moved into the gaps are never among
// them.
void MpiEnvironment::Engine::Forget(int num_done) {
  std::sort(done_.begin(), done_.begin() + num_done, std::greater<>());
  for (int i = 0; i < num_done; ++i) {
    requests_[done_[i]] = requests_.back();
    transfers_[done_[i]] = transfers_.back();
    requests_.pop_back();
    transfers_.pop_back();
  }
}

void MpiEnvironment::Engine::WaitUntil(const std::function<bool()>& done, const std::string& name) {
  constexpr int kPollsPerLookAtTheClock = 4096;
  const auto start = std::chrono::steady_clock::now();
  auto report_at = start + kLongWait;
  for (int polls = 1; !done(); ++polls) {
    if (Progress()) continue;
    // Ranks may outnumber cores: the one waited for may need this one.
    std::this_thread::yield();
    if (polls % kPollsPerLookAtTheClock != 0 || std::chrono::steady_clock::now() < report_at) continue;
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - start);
    LOG(WARNING) << "still waiting for " << name << ", since " << seconds.count() << " s";
    report_at += kLongWait;
  }
}

// Two ranks or more.
class MpiEnvironment::GroupOfMany : public Communicator {
 public:
  // Takes over `comm`.
  GroupOfMany(Engine& engine, MPI_Comm comm, int rank, int size)
      : engine_(engine),
        comm_(comm),
        rank_(rank),
        size_(size),
        lanes_(rank, size, engine.options().piece_bytes, engine.staging()) {}

  ~GroupOfMany() override {
    CHECK(under_way_.empty()) << under_way_.begin()->second->name
                              << " was started, and nobody has waited for it";
    MPI_Comm_free(&comm_);
  }

  // The group of `comm`, which it takes over; null for MPI_COMM_NULL.
  static std::unique_ptr<Communicator> Make(Engine& engine, MPI_Comm comm) {
    if (comm == MPI_COMM_NULL) return nullptr;
    int rank = 0, size = 0;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    if (size > 1) return std::make_unique<GroupOfMany>(engine, comm, rank, size);
    MPI_Comm_free(&comm);
    return std::make_unique<SelfCommunicator>();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  Ticket StartAllReduce(const void* in, void* out, int64_t count, DType dtype, ReduceOp op) override {
    return StartCollective("all_reduce", count, dtype, lanes_.AllReduce(in, out, count, dtype, op));
  }
  Ticket StartAllGather(const void* in, void* out, int64_t count, DType dtype) override {
    return StartCollective("all_gather", count, dtype, lanes_.AllGather(in, out, count * SizeOf(dtype)));
  }
  Ticket StartReduceScatter(const void* in, void* out, int64_t count, DType dtype) override {
    return StartCollective("reduce_scatter", count, dtype, lanes_.ReduceScatter(in, out, count, dtype));
  }
  Ticket StartAllToAll(const void* in, void* out, int64_t count, DType dtype) override {
    return StartCollective("all_to_all", count, dtype, lanes_.AllToAll(in, out, count * SizeOf(dtype)));
  }
  Ticket StartExchange(absl::Span<const Piece> sends, absl::Span<const Piece> receives,
                       DType dtype) override {
    int64_t count = 0;
    for (const Piece& piece : receives) count += piece.count;
    return StartCollective("exchange", count, dtype, lanes_.Exchange(sends, receives, SizeOf(dtype)));
  }
  Ticket StartBroadcast(void* data, int64_t count, DType dtype, int root) override {
    return StartCollective("broadcast", count, dtype, lanes_.Broadcast(data, count * SizeOf(dtype), root));
  }
  Ticket StartSend(const void* data, int64_t count, DType dtype, int peer) override {
    return StartMessage("send", count, dtype, {true, const_cast<void*>(data), count * SizeOf(dtype), peer});
  }
  Ticket StartReceive(void* data, int64_t count, DType dtype, int peer) override {
    return StartMessage("receive", count, dtype, {false, data, count * SizeOf(dtype), peer});
  }

  void Wait(Ticket ticket) override;
  void Progress() override { engine_.Progress(); }
  void Barrier() override;
  std::unique_ptr<Communicator> Split(int color, int key) override;

 private:
  Ticket StartCollective(const char* what, int64_t count, DType dtype, MessageLanes lanes) {
    const int num_lanes = static_cast<int>(lanes.size());
    const int first = std::exchange(next_lane_, (next_lane_ + num_lanes) % kNumLaneTags);
    return Start(what, count, dtype, std::move(lanes),
                 [&](int lane) { return kPointToPointTag + 1 + (first + lane) % kNumLaneTags; });
  }
  Ticket StartMessage(const char* what, int64_t count, DType dtype, const LaneMessage& message) {
    return Start(absl::StrCat(what, " (peer ", message.peer, ")"), count, dtype, lanes_.Single(message),
                 [](int) { return kPointToPointTag; });
  }
  Ticket Start(const std::string& what, int64_t count, DType dtype, MessageLanes lanes,
               const std::function<int(int)>& tag_of_lane);

  Engine& engine_;
  MPI_Comm comm_;
  const int rank_;
  const int size_;
  const LaneFactory lanes_;
  int next_lane_ = 0;
  Ticket last_ticket_ = 0;
  std::unordered_map<Ticket, std::unique_ptr<Operation>> under_way_;
};

Communicator::Ticket MpiEnvironment::GroupOfMany::Start(const std::string& what, int64_t count, DType dtype,
                                                        MessageLanes lanes,
                                                        const std::function<int(int)>& tag_of_lane) {
  CHECK_GE(count, 0);
  if (lanes.empty()) return 0;
  auto work = std::make_unique<Operation>();
  work->name = absl::StrCat(what, " of ", count, " ", Name(dtype), " on rank ", rank_, " of ", size_);
  work->lanes = std::move(lanes);
  for (int i = 0; i < static_cast<int>(work->lanes.size()); ++i) {
    engine_.Start(comm_, tag_of_lane(i), *work->lanes[i], *work);
  }
  under_way_.emplace(++last_ticket_, std::move(work));
  return last_ticket_;
}

void MpiEnvironment::GroupOfMany::Wait(Ticket ticket) {
  if (ticket == 0) return;
  const auto found = under_way_.find(ticket);
  CHECK(found != under_way_.end()) << "ticket " << ticket << " was never given, or has been waited for";
  const Operation& work = *found->second;
  engine_.WaitUntil([&] { return work.lanes_under_way == 0; }, work.name);
  under_way_.erase(found);
}

void MpiEnvironment::GroupOfMany::Barrier() {
  MPI_Request request;
  MPI_Ibarrier(comm_, &request);
  engine_.WaitUntil(
      [&] {
        int done = 0;
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        return done != 0;
      },
      absl::StrCat("a barrier on rank ", rank_, " of ", size_));
}

std::unique_ptr<Communicator> MpiEnvironment::GroupOfMany::Split(int color, int key) {
  // MPI_Comm_split blocks without moving our operations ahead: nobody may still wait for one of them.
  Barrier();
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_split(comm_, color < 0 ? MPI_UNDEFINED : color, key, &comm);
  return Make(engine_, comm);
}

absl::StatusOr<std::unique_ptr<MpiEnvironment>> MpiEnvironment::Create(bool under_mpirun,
                                                                       const MpiOptions& options) {
  CHECK(options.piece_bytes > 0 && options.max_message_bytes > 0 && options.max_message_bytes <= 1 << 30);
  if (!under_mpirun) return std::unique_ptr<MpiEnvironment>(new MpiEnvironment(nullptr));
  int provided = MPI_THREAD_SINGLE;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
  if (provided < MPI_THREAD_SERIALIZED) {
    MPI_Finalize();
    return absl::FailedPreconditionError(
        absl::StrCat("this MPI gives thread level ", provided, ", and MPI_THREAD_SERIALIZED (",
                     MPI_THREAD_SERIALIZED, ") is needed; use one that is built with thread support"));
  }
  return std::unique_ptr<MpiEnvironment>(new MpiEnvironment(std::make_unique<Engine>(options)));
}

MpiEnvironment::MpiEnvironment(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {
  if (engine_ == nullptr) {
    world_ = std::make_unique<SelfCommunicator>();
    return;
  }
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  world_ = GroupOfMany::Make(*engine_, comm);
}

MpiEnvironment::~MpiEnvironment() {
  if (engine_ == nullptr) return;
  world_->Barrier();
  world_.reset();
  MPI_Finalize();
}

int64_t MpiEnvironment::staging_bytes() const {
  return engine_ == nullptr ? 0 : engine_->staging().bytes_held();
}

void MpiEnvironment::Abort(int exit_code) {
  if (engine_ != nullptr) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace trireme
