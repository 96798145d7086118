#include "parallel/message_lane.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "parallel/bytes.h"
#include "parallel/reduction.h"

namespace trireme {
namespace {

// Up to here one exchange of everything is cheaper than two of slices.
constexpr int64_t kSmallBytes = 8192;
// Lanes of one large reduction: while one adds, the other's messages travel.
constexpr int64_t kLanes = 2;

void Send(std::vector<LaneMessage>& messages, const char* data, int64_t bytes, int peer) {
  if (bytes > 0) messages.push_back({true, const_cast<char*>(data), bytes, peer});
}

void Receive(std::vector<LaneMessage>& messages, char* data, int64_t bytes, int peer) {
  if (bytes > 0) messages.push_back({false, data, bytes, peer});
}

struct Group {
  int rank;
  int size;
};

// The peers in an order that differs from rank to rank, so that not all of them talk to rank 0 first.
template <typename F>
void ForEachPeer(const Group& group, F&& f) {
  for (int i = 1; i < group.size; ++i) f((group.rank + i) % group.size);
}

// All messages in one phase.
class SinglePhase : public MessageLane {
 public:
  explicit SinglePhase(std::vector<LaneMessage> messages) : messages_(std::move(messages)) {}

  bool Next(std::vector<LaneMessage>& messages) override {
    if (std::exchange(is_sent_, true)) return false;
    messages.insert(messages.end(), messages_.begin(), messages_.end());
    return true;
  }

 private:
  std::vector<LaneMessage> messages_;
  bool is_sent_ = false;
};

// A part of a long buffer: piece number `index` of pieces of `length` elements.
class Pieces {
 public:
  Pieces(int64_t total, int64_t length, int64_t first) : total_(total), length_(length), index_(first) {}

  bool at_end() const { return begin() >= total_; }
  int64_t begin() const { return index_ * length_; }
  int64_t length() const { return std::min(length_, total_ - begin()); }
  void Advance() { index_ += kLanes; }

 private:
  int64_t total_;
  int64_t length_;
  int64_t index_;
};

struct Reduction {
  const void* in;
  void* out;
  DType dtype;
  ReduceOp op;
};

// Adds in rank order what peers have put into `staging` (blocks of `stride` bytes, by rank) and this rank's
// own part.
void ReduceStaged(const Group& group, const char* staging, int64_t stride, const char* own, char* out,
                  int64_t count, const Reduction& what) {
  std::vector<const void*> sources(group.size);
  for (int r = 0; r < group.size; ++r) sources[r] = r == group.rank ? own : staging + r * stride;
  ReduceInOrder(sources, out, count, what.dtype, what.op);
}

// Everybody gets everything and adds it.
class SmallAllReduce : public MessageLane {
 public:
  SmallAllReduce(Group group, const Reduction& what, int64_t count, StagingPool& pool)
      : group_(group), what_(what), count_(count), staging_(pool.Take(Bytes() * group.size)) {}

  bool Next(std::vector<LaneMessage>& messages) override {
    if (std::exchange(is_sent_, true)) {
      ReduceStaged(group_, staging_.data(), Bytes(), At(what_.in, 0), At(what_.out, 0), count_, what_);
      return false;
    }
    ForEachPeer(group_, [&](int peer) {
      Receive(messages, staging_.data() + peer * Bytes(), Bytes(), peer);
      Send(messages, At(what_.in, 0), Bytes(), peer);
    });
    return true;
  }

 private:
  int64_t Bytes() const { return count_ * SizeOf(what_.dtype); }

  const Group group_;
  const Reduction what_;
  const int64_t count_;
  StagingPool::Buffer staging_;
  bool is_sent_ = false;
};

// Slices to their owners, sums back, piece after piece.
class SlicedAllReduce : public MessageLane {
 public:
  SlicedAllReduce(Group group, const Reduction& what, Pieces pieces, int64_t piece_length, StagingPool& pool)
      : group_(group),
        what_(what),
        pieces_(pieces),
        stride_((piece_length + group.size - 1) / group.size * SizeOf(what.dtype)),
        staging_(pool.Take(stride_ * group.size)) {}

  bool Next(std::vector<LaneMessage>& messages) override {
    if (phase_ == Phase::kGathering) {
      ReduceMySlice(messages);
      phase_ = Phase::kReturning;
      return true;
    }
    if (phase_ == Phase::kReturning) pieces_.Advance();
    if (pieces_.at_end()) return false;
    GatherMySlice(messages);
    phase_ = Phase::kGathering;
    return true;
  }

 private:
  // Of the current piece: my slice of it comes in from all; its sum goes out to all.
  enum class Phase { kStart, kGathering, kReturning };

  int64_t Element() const { return SizeOf(what_.dtype); }
  // The first byte of rank r's slice of the piece.
  int64_t Begin(int r) const { return (pieces_.begin() + pieces_.length() * r / group_.size) * Element(); }
  int64_t Bytes(int r) const { return Begin(r + 1) - Begin(r); }

  void GatherMySlice(std::vector<LaneMessage>& messages) {
    ForEachPeer(group_, [&](int peer) {
      Receive(messages, staging_.data() + peer * stride_, Bytes(group_.rank), peer);
      Send(messages, At(what_.in, Begin(peer)), Bytes(peer), peer);
    });
  }

  void ReduceMySlice(std::vector<LaneMessage>& messages) {
    char* sum = At(what_.out, Begin(group_.rank));
    ReduceStaged(group_, staging_.data(), stride_, At(what_.in, Begin(group_.rank)), sum,
                 Bytes(group_.rank) / Element(), what_);
    ForEachPeer(group_, [&](int peer) {
      Receive(messages, At(what_.out, Begin(peer)), Bytes(peer), peer);
      Send(messages, sum, Bytes(group_.rank), peer);
    });
  }

  const Group group_;
  const Reduction what_;
  Pieces pieces_;
  const int64_t stride_;  // bytes between the slices of two ranks in staging
  StagingPool::Buffer staging_;
  Phase phase_ = Phase::kStart;
};

// The first half: each rank's block from everybody, added.
class PiecedReduceScatter : public MessageLane {
 public:
  PiecedReduceScatter(Group group, const Reduction& what, int64_t count, Pieces pieces, int64_t piece_length,
                      StagingPool& pool)
      : group_(group),
        what_(what),
        block_bytes_(count * SizeOf(what.dtype)),
        pieces_(pieces),
        stride_(piece_length * SizeOf(what.dtype)),
        staging_(pool.Take(stride_ * group.size)) {}

  bool Next(std::vector<LaneMessage>& messages) override {
    if (is_gathering_) {
      ReduceStaged(group_, staging_.data(), stride_, At(what_.in, group_.rank * block_bytes_ + Begin()),
                   At(what_.out, Begin()), pieces_.length(), what_);
      pieces_.Advance();
    }
    is_gathering_ = !pieces_.at_end();
    if (!is_gathering_) return false;
    const int64_t bytes = pieces_.length() * SizeOf(what_.dtype);
    ForEachPeer(group_, [&](int peer) {
      Receive(messages, staging_.data() + peer * stride_, bytes, peer);
      Send(messages, At(what_.in, peer * block_bytes_ + Begin()), bytes, peer);
    });
    return true;
  }

 private:
  int64_t Begin() const { return pieces_.begin() * SizeOf(what_.dtype); }

  const Group group_;
  const Reduction what_;
  const int64_t block_bytes_;
  Pieces pieces_;
  const int64_t stride_;
  StagingPool::Buffer staging_;
  bool is_gathering_ = false;
};

// All-to-all of a buffer with itself: what is sent is put aside first, piece after piece.
class AllToAllInPlace : public MessageLane {
 public:
  AllToAllInPlace(Group group, void* data, int64_t block_bytes, Pieces pieces, int64_t piece_bytes,
                  StagingPool& pool)
      : group_(group),
        data_(data),
        block_bytes_(block_bytes),
        pieces_(pieces),
        stride_(piece_bytes),
        staging_(pool.Take(stride_ * group.size)) {}

  bool Next(std::vector<LaneMessage>& messages) override {
    if (std::exchange(is_sent_, true)) pieces_.Advance();
    if (pieces_.at_end()) return false;
    ForEachPeer(group_, [&](int peer) {
      char* block = At(data_, peer * block_bytes_ + pieces_.begin());
      char* kept = staging_.data() + peer * stride_;
      std::memcpy(kept, block, pieces_.length());
      Receive(messages, block, pieces_.length(), peer);
      Send(messages, kept, pieces_.length(), peer);
    });
    return true;
  }

 private:
  const Group group_;
  void* const data_;
  const int64_t block_bytes_;
  Pieces pieces_;
  const int64_t stride_;
  StagingPool::Buffer staging_;
  bool is_sent_ = false;
};

// `make` a lane for the pieces from each of the first kLanes on.
template <typename Make>
MessageLanes MakeLanes(int64_t total, int64_t piece_length, Make make) {
  MessageLanes lanes;
  for (int64_t first = 0; first < kLanes && first * piece_length < total; ++first) {
    lanes.push_back(make(Pieces(total, piece_length, first)));
  }
  return lanes;
}

}  // namespace

MessageLanes LaneFactory::AllReduce(const void* in, void* out, int64_t count, DType dtype,
                                    ReduceOp op) const {
  const Group group{rank_, size_};
  const Reduction what{in, out, dtype, op};
  MessageLanes lanes;
  if (count * SizeOf(dtype) <= kSmallBytes) {
    if (count > 0) lanes.push_back(std::make_unique<SmallAllReduce>(group, what, count, staging_));
    return lanes;
  }
  const int64_t length = std::clamp<int64_t>(piece_bytes_ / SizeOf(dtype), 1, count);
  return MakeLanes(count, length, [&](Pieces pieces) {
    return std::make_unique<SlicedAllReduce>(group, what, pieces, length, staging_);
  });
}

MessageLanes LaneFactory::AllGather(const void* in, void* out, int64_t bytes) const {
  MoveBytes(in, At(out, rank_ * bytes), bytes);
  std::vector<LaneMessage> messages;
  ForEachPeer(Group{rank_, size_}, [&](int peer) {
    Receive(messages, At(out, peer * bytes), bytes, peer);
    Send(messages, At(in, 0), bytes, peer);
  });
  MessageLanes lanes;
  if (!messages.empty()) lanes.push_back(std::make_unique<SinglePhase>(std::move(messages)));
  return lanes;
}

MessageLanes LaneFactory::ReduceScatter(const void* in, void* out, int64_t count, DType dtype) const {
  const Reduction what{in, out, dtype, ReduceOp::kSum};
  const int64_t most = std::max<int64_t>(1, piece_bytes_ / SizeOf(dtype) / size_);
  const int64_t length = std::clamp<int64_t>(count, 1, most);
  return MakeLanes(count, length, [&](Pieces pieces) {
    return std::make_unique<PiecedReduceScatter>(Group{rank_, size_}, what, count, pieces, length, staging_);
  });
}

MessageLanes LaneFactory::AllToAll(const void* in, void* out, int64_t bytes) const {
  const Group group{rank_, size_};
  if (in == out) {
    const int64_t length = std::clamp<int64_t>(bytes, 1, std::max<int64_t>(1, piece_bytes_ / size_));
    return MakeLanes(bytes, length, [&](Pieces pieces) {
      return std::make_unique<AllToAllInPlace>(group, out, bytes, pieces, length, staging_);
    });
  }
  MoveBytes(At(in, rank_ * bytes), At(out, rank_ * bytes), bytes);
  std::vector<LaneMessage> messages;
  ForEachPeer(group, [&](int peer) {
    Receive(messages, At(out, peer * bytes), bytes, peer);
    Send(messages, At(in, peer * bytes), bytes, peer);
  });
  MessageLanes lanes;
  if (!messages.empty()) lanes.push_back(std::make_unique<SinglePhase>(std::move(messages)));
  return lanes;
}

MessageLanes LaneFactory::Exchange(absl::Span<const Communicator::Piece> sends,
                                   absl::Span<const Communicator::Piece> receives,
                                   int64_t element_bytes) const {
  std::vector<LaneMessage> messages;
  std::vector<const Communicator::Piece*> to_itself;
  for (const Communicator::Piece& piece : sends) {
    if (piece.peer == rank_) {
      to_itself.push_back(&piece);
    } else {
      Send(messages, At(static_cast<const void*>(piece.data), 0), piece.count * element_bytes, piece.peer);
    }
  }
  size_t taken = 0;
  for (const Communicator::Piece& piece : receives) {
    const int64_t bytes = piece.count * element_bytes;
    if (piece.peer == rank_) {
      CHECK(taken < to_itself.size() && to_itself[taken]->count == piece.count)
          << "piece " << taken << " of rank " << rank_ << " to itself";
      MoveBytes(to_itself[taken++]->data, piece.data, bytes);
    } else {
      Receive(messages, At(piece.data, 0), bytes, piece.peer);
    }
  }
  CHECK_EQ(taken, to_itself.size()) << "pieces of rank " << rank_ << " to itself";
  // A lane even of a rank without messages: lanes are numbered alike on all ranks.
  MessageLanes lanes;
  lanes.push_back(std::make_unique<SinglePhase>(std::move(messages)));
  return lanes;
}

MessageLanes LaneFactory::Broadcast(void* data, int64_t bytes, int root) const {
  CHECK(root >= 0 && root < size_) << "root " << root << " of " << size_;
  std::vector<LaneMessage> messages;
  if (rank_ == root) {
    ForEachPeer(Group{rank_, size_}, [&](int peer) { Send(messages, At(data, 0), bytes, peer); });
  } else {
    Receive(messages, At(data, 0), bytes, root);
  }
  MessageLanes lanes;
  if (!messages.empty()) lanes.push_back(std::make_unique<SinglePhase>(std::move(messages)));
  return lanes;
}

MessageLanes LaneFactory::Single(const LaneMessage& message) const {
  CHECK(message.peer >= 0 && message.peer < size_ && message.peer != rank_)
      << "rank " << rank_ << " of " << size_ << ", peer " << message.peer;
  MessageLanes lanes;
  if (message.bytes > 0) lanes.push_back(std::make_unique<SinglePhase>(std::vector<LaneMessage>{message}));
  return lanes;
}

}  // namespace trireme
