#include "tests/muted_communicator.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace trireme {

std::string MutedOperation::ToString() const {
  return absl::StrCat("operation ", operation, " of communicator ", communicator);
}

void OperationCounts::Add(int communicator, int64_t operation) {
  std::lock_guard<std::mutex> lock(mutex_);
  int64_t& count = num_operations_[communicator];
  count = std::max(count, operation + 1);
}

std::vector<MutedOperation> OperationCounts::All() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<MutedOperation> all;
  for (const auto& [communicator, count] : num_operations_) {
    for (int64_t i = 0; i < count; ++i) all.push_back({communicator, i});
  }
  return all;
}

namespace {

// One rank's run: how many communicators it has, and which operation it leaves out.
struct Run {
  const MutedOperation muted;
  OperationCounts* const counts;
  int num_communicators = 0;
};

class MutedCommunicator : public Communicator {
 public:
  MutedCommunicator(Communicator* of, std::unique_ptr<Communicator> owned, std::shared_ptr<Run> run,
                    int number)
      : of_(*of), owned_(std::move(owned)), run_(std::move(run)), number_(number) {}

  int rank() const override { return of_.rank(); }
  int size() const override { return of_.size(); }
  int stream() const override { return of_.stream(); }

  Ticket StartAllReduce(const void* in, void* out, int64_t count, DType dtype, ReduceOp op) override {
    if (!IsNextMuted()) return of_.StartAllReduce(in, out, count, dtype, op);
    std::memmove(out, in, count * SizeOf(dtype));
    return 0;
  }
  Ticket StartAllGather(const void* in, void* out, int64_t count, DType dtype) override {
    if (!IsNextMuted()) return of_.StartAllGather(in, out, count, dtype);
    const int64_t bytes = count * SizeOf(dtype);
    const std::vector<char> mine(static_cast<const char*>(in), static_cast<const char*>(in) + bytes);
    for (int r = 0; r < size(); ++r) std::memcpy(static_cast<char*>(out) + r * bytes, mine.data(), bytes);
    return 0;
  }
  Ticket StartReduceScatter(const void* in, void* out, int64_t count, DType dtype) override {
    if (!IsNextMuted()) return of_.StartReduceScatter(in, out, count, dtype);
    const int64_t bytes = count * SizeOf(dtype);
    std::memmove(out, static_cast<const char*>(in) + rank() * bytes, bytes);
    return 0;
  }
  Ticket StartAllToAll(const void* in, void* out, int64_t count, DType dtype) override {
    if (!IsNextMuted()) return of_.StartAllToAll(in, out, count, dtype);
    std::memmove(out, in, size() * count * SizeOf(dtype));
    return 0;
  }
  Ticket StartExchange(absl::Span<const Piece> sends, absl::Span<const Piece> receives,
                       DType dtype) override {
    // What says how long the messages are that follow: without it those abort, which needs no test.
    if (dtype == DType::kI32 || !IsNextMuted()) return of_.StartExchange(sends, receives, dtype);
    for (const Piece& piece : receives) std::memset(piece.data, 0, piece.count * SizeOf(dtype));
    return 0;
  }
  Ticket StartBroadcast(void* data, int64_t count, DType dtype, int root) override {
    return IsNextMuted() ? 0 : of_.StartBroadcast(data, count, dtype, root);
  }
  Ticket StartSend(const void* data, int64_t count, DType dtype, int peer) override {
    return of_.StartSend(data, count, dtype, peer);
  }
  Ticket StartReceive(void* data, int64_t count, DType dtype, int peer) override {
    const bool is_muted = IsNextMuted();
    const Ticket ticket = of_.StartReceive(data, count, dtype, peer);
    // The message must be taken, or its sender would wait for ever.
    if (is_muted) zeroed_ = {ticket, data, count * SizeOf(dtype)};
    return ticket;
  }
  void Wait(Ticket ticket) override {
    of_.Wait(ticket);
    if (zeroed_.data == nullptr || zeroed_.ticket != ticket) return;
    std::memset(zeroed_.data, 0, zeroed_.bytes);
    zeroed_ = {};
  }
  void Progress() override { of_.Progress(); }
  void Barrier() override { of_.Barrier(); }

  std::unique_ptr<Communicator> Split(int color, int key) override {
    const int number = ++run_->num_communicators;
    std::unique_ptr<Communicator> part = of_.Split(color, key);
    if (part == nullptr) return nullptr;
    Communicator* const of = part.get();
    return std::make_unique<MutedCommunicator>(of, std::move(part), run_, number);
  }

 private:
  struct Zeroed {
    Ticket ticket = 0;
    void* data = nullptr;
    int64_t bytes = 0;
  };

  bool IsNextMuted() {
    const MutedOperation next = {number_, num_started_++};
    if (run_->counts != nullptr) run_->counts->Add(next.communicator, next.operation);
    return next == run_->muted;
  }

  Communicator& of_;
  const std::unique_ptr<Communicator> owned_;  // null for the world
  const std::shared_ptr<Run> run_;
  const int number_;
  int64_t num_started_ = 0;
  Zeroed zeroed_;
};

}  // namespace

std::unique_ptr<Communicator> MuteOne(Communicator& of, MutedOperation muted, OperationCounts* counts) {
  return std::make_unique<MutedCommunicator>(&of, nullptr, std::make_shared<Run>(Run{muted, counts}), 0);
}

}  // namespace trireme
