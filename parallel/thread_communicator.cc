#include "parallel/thread_communicator.h"

#include <glog/logging.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "parallel/self_communicator.h"
#include "parallel/thread_collective.h"
#include "parallel/thread_group.h"
#include "parallel/thread_hub.h"

namespace trireme {

std::string ThreadTransfer::Describe() const {
  return absl::StrCat(is_send ? "a send of " : "a receive of ", count, " ", Name(dtype),
                      is_send ? " to" : " from", " rank ", world_peer, ", which has not started the ",
                      is_send ? "receive" : "send");
}

namespace {

class ThreadCommunicator : public Communicator {
 public:
  ThreadCommunicator(ThreadHub& hub, bool rendezvous, std::shared_ptr<ThreadGroup> group, int rank)
      : hub_(hub), rendezvous_(rendezvous), group_(std::move(group)), rank_(rank) {}

  ~ThreadCommunicator() override {
    CHECK(under_way_.empty()) << "rank " << WorldRank() << " leaves " << under_way_.size()
                              << " operations that nobody has waited for";
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(group_->world_ranks.size()); }

  Ticket StartAllReduce(const void* in, void* out, int64_t count, DType dtype, ReduceOp op) override {
    return Start({CollectiveKind::kAllReduce, count, dtype, op}, {true, in, out});
  }
  Ticket StartAllGather(const void* in, void* out, int64_t count, DType dtype) override {
    return Start({CollectiveKind::kAllGather, count, dtype}, {true, in, out});
  }
  Ticket StartReduceScatter(const void* in, void* out, int64_t count, DType dtype) override {
    return Start({CollectiveKind::kReduceScatter, count, dtype}, {true, in, out});
  }
  Ticket StartAllToAll(const void* in, void* out, int64_t count, DType dtype) override {
    return Start({CollectiveKind::kAllToAll, count, dtype}, {true, in, out});
  }
  Ticket StartExchange(absl::Span<const Piece> sends, absl::Span<const Piece> receives,
                       DType dtype) override {
    ThreadCollective::Arguments arguments{true};
    arguments.sends.assign(sends.begin(), sends.end());
    arguments.receives.assign(receives.begin(), receives.end());
    return Start({CollectiveKind::kExchange, 0, dtype}, arguments);
  }
  Ticket StartBroadcast(void* data, int64_t count, DType dtype, int root) override {
    CHECK(root >= 0 && root < size()) << "root " << root << " of " << size();
    return Start({CollectiveKind::kBroadcast, count, dtype, ReduceOp::kSum, root}, {true, data, data});
  }

  Ticket StartSend(const void* data, int64_t count, DType dtype, int peer) override;
  Ticket StartReceive(void* data, int64_t count, DType dtype, int peer) override;

  void Wait(Ticket ticket) override {
    if (ticket == 0) return;
    const auto found = under_way_.find(ticket);
    CHECK(found != under_way_.end()) << "ticket " << ticket << " was never given, or has been waited for";
    hub_.Wait(WorldRank(), *found->second);
    under_way_.erase(found);
  }

  void Progress() override {}
  void Barrier() override { Wait(Start({CollectiveKind::kBarrier}, {true})); }
  std::unique_ptr<Communicator> Split(int color, int key) override;

 private:
  int WorldRank() const { return group_->world_ranks[rank_]; }

  Ticket Issue(std::shared_ptr<ThreadHub::Operation> operation) {
    under_way_.emplace(++last_ticket_, std::move(operation));
    return last_ticket_;
  }

  Ticket Start(const CollectiveSignature& signature, const ThreadCollective::Arguments& arguments) {
    return Issue(Join(signature, arguments));
  }
  std::shared_ptr<ThreadCollective> Join(const CollectiveSignature& signature,
                                         const ThreadCollective::Arguments& arguments);
  std::shared_ptr<ThreadTransfer> NewTransfer(bool is_send, int64_t count, DType dtype, int peer) const;
  void Deliver(ThreadTransfer& send, ThreadTransfer& receive);

  ThreadHub& hub_;
  const bool rendezvous_;
  const std::shared_ptr<ThreadGroup> group_;
  const int rank_;
  uint64_t num_collectives_ = 0;
  Ticket last_ticket_ = 0;
  std::unordered_map<Ticket, std::shared_ptr<ThreadHub::Operation>> under_way_;
};

std::shared_ptr<ThreadCollective> ThreadCommunicator::Join(const CollectiveSignature& signature,
                                                           const ThreadCollective::Arguments& arguments) {
  CHECK_GE(signature.count, 0);
  const uint64_t number = num_collectives_++;
  std::shared_ptr<ThreadCollective> collective;
  bool all_given = false;
  {
    std::lock_guard lock(hub_.mutex());
    std::shared_ptr<ThreadCollective>& slot = group_->collectives[number];
    if (slot == nullptr) {
      slot = std::make_shared<ThreadCollective>();
      slot->signature = signature;
      slot->world_ranks = group_->world_ranks;
      slot->of_rank.resize(size());
    }
    collective = slot;
    CHECK(collective->signature == signature)
        << "rank " << WorldRank() << " starts " << signature.ToString() << " where others have started "
        << collective->Describe() << " (collective number " << number << " of this group)";
    collective->of_rank[rank_] = arguments;
    all_given = ++collective->num_given == size();
    if (all_given) group_->collectives.erase(number);
  }
  if (all_given) {
    collective->Execute();
    std::lock_guard lock(hub_.mutex());
    hub_.Complete(*collective);
  }
  return collective;
}

std::unique_ptr<Communicator> ThreadCommunicator::Split(int color, int key) {
  ThreadCollective::Arguments arguments{true};
  arguments.color = color;
  arguments.key = key;
  const std::shared_ptr<ThreadCollective> split = Join({CollectiveKind::kSplit}, arguments);
  Wait(Issue(split));
  if (color < 0) return nullptr;
  const ThreadCollective::Arguments& made = split->of_rank[rank_];
  if (made.group->world_ranks.size() == 1) return std::make_unique<SelfCommunicator>();
  return std::make_unique<ThreadCommunicator>(hub_, rendezvous_, made.group, made.rank_in_group);
}

std::shared_ptr<ThreadTransfer> ThreadCommunicator::NewTransfer(bool is_send, int64_t count, DType dtype,
                                                                int peer) const {
  CHECK(peer >= 0 && peer < size() && peer != rank_)
      << "rank " << rank_ << " of " << size() << ", peer " << peer;
  CHECK_GE(count, 0);
  auto transfer = std::make_shared<ThreadTransfer>();
  transfer->is_send = is_send;
  transfer->world_rank = WorldRank();
  transfer->world_peer = group_->world_ranks[peer];
  transfer->count = count;
  transfer->dtype = dtype;
  return transfer;
}

Communicator::Ticket ThreadCommunicator::StartSend(const void* data, int64_t count, DType dtype, int peer) {
  auto send = NewTransfer(true, count, dtype, peer);
  send->data = const_cast<void*>(data);
  if (!rendezvous_) {
    const char* bytes = static_cast<const char*>(data);
    send->copy.assign(bytes, bytes + count * SizeOf(dtype));
    send->data = send->copy.data();
  }
  std::shared_ptr<ThreadTransfer> receive;
  {
    std::lock_guard lock(hub_.mutex());
    ThreadGroup::Channel& channel = group_->channels[{rank_, peer}];
    if (channel.receives.empty()) {
      channel.sends.push_back(send);
      send->done = !rendezvous_;
    } else {
      receive = channel.receives.front();
      channel.receives.pop_front();
    }
  }
  if (receive != nullptr) Deliver(*send, *receive);
  return Issue(std::move(send));
}

Communicator::Ticket ThreadCommunicator::StartReceive(void* data, int64_t count, DType dtype, int peer) {
  auto receive = NewTransfer(false, count, dtype, peer);
  receive->data = data;
  std::shared_ptr<ThreadTransfer> send;
  {
    std::lock_guard lock(hub_.mutex());
    ThreadGroup::Channel& channel = group_->channels[{peer, rank_}];
    if (channel.sends.empty()) {
      channel.receives.push_back(receive);
    } else {
      send = channel.sends.front();
      channel.sends.pop_front();
    }
  }
  if (send != nullptr) Deliver(*send, *receive);
  return Issue(std::move(receive));
}

void ThreadCommunicator::Deliver(ThreadTransfer& send, ThreadTransfer& receive) {
  CHECK(send.count == receive.count && send.dtype == receive.dtype)
      << "rank " << send.world_rank << " sends " << send.count << " " << Name(send.dtype) << " where rank "
      << receive.world_rank << " receives " << receive.count << " " << Name(receive.dtype);
  if (send.count > 0) std::memcpy(receive.data, send.data, send.count * SizeOf(send.dtype));
  std::lock_guard lock(hub_.mutex());
  hub_.Complete(send);
  hub_.Complete(receive);
}

}  // namespace

void RunThreadRanks(int num_ranks, const std::function<void(Communicator& world)>& body,
                    const ThreadOptions& options) {
  CHECK_GT(num_ranks, 0);
  if (num_ranks == 1) {
    SelfCommunicator self;
    return body(self);
  }
  ThreadHub hub(num_ranks, options.deadlock_timeout);
  const auto group = std::make_shared<ThreadGroup>();
  group->world_ranks.resize(num_ranks);
  std::iota(group->world_ranks.begin(), group->world_ranks.end(), 0);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < num_ranks; ++rank) {
    threads.emplace_back([&, rank] {
      {
        ThreadCommunicator world(hub, options.rendezvous_sends, group, rank);
        body(world);
      }
      hub.Leave(rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace trireme
