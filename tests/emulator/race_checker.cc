#include "tests/emulator/race_checker.h"

#include <algorithm>
#include <atomic>
#include <bit>

#include "tests/emulator/block.h"
#include "tests/emulator/failure.h"
#include "tests/emulator/source_line.h"

namespace trireme::emulator {
namespace {

constexpr uintptr_t kPageBytes = 4096;
constexpr uint32_t kIsSite = 1u << 31;  // of Epoch::place: an index into sites_, else an instruction

std::atomic<bool> race_checking = false;

const char* Name(Access access) {
  switch (access) {
    case Access::kRead:
    case Access::kWarpRead:
      return "read";
    case Access::kWrite:
      return "write";
    case Access::kAtomic:
      return "atomic";
  }
  return "?";
}

bool IsRead(Access access) {
  return access == Access::kRead || access == Access::kWarpRead;
}

bool Conflict(Access a, Access b) {
  return !(IsRead(a) && IsRead(b)) && !(a == Access::kAtomic && b == Access::kAtomic);
}

template <typename F>
void ForThreads(const RaceChecker::Masks& masks, F f) {
  for (int w = 0; w < static_cast<int>(masks.size()); ++w)
    for (uint32_t rest = masks[w]; rest != 0; rest &= rest - 1) f(w * kLanes + std::countr_zero(rest));
}

void JoinInto(std::vector<uint32_t>& target, const std::vector<uint32_t>& source) {
  if (target.size() < source.size()) target.resize(source.size());
  for (size_t i = 0; i < source.size(); ++i) target[i] = std::max(target[i], source[i]);
}

}  // namespace

void SetRaceChecking(bool on) {
  race_checking = on;
}
bool RaceChecking() {
  return race_checking;
}

void OnAccess(const void* address, size_t bytes, Access access, const void* instruction) {
  // The checker's own containers may have been compiled with the calls in them, in another file.
  static constinit thread_local bool inside = false;
  Block* block = current_block;
  if (inside || block == nullptr || block->race() == nullptr || !block->in_thread()) return;
  inside = true;
  const std::string wrong = block->race()->Check(block->current().rank, address, bytes, access, instruction);
  inside = false;
  if (!wrong.empty()) block->Fail(wrong);
}

RaceChecker::RaceChecker(const SharedMemory& shared, const FiberPool& pool)
    : shared_(shared), pool_(pool), shared_cells_(SharedMemory::kArenaBytes) {}

void RaceChecker::StartLaunch(int num_threads) {
  num_threads_ = num_threads;
  first_block_of_launch_ = block_ + 1;
  atomics_.clear();
  known_.resize(std::max<size_t>(known_.size(), num_threads));
}

void RaceChecker::StartBlock() {
  ++block_;
  clock_.assign(num_threads_, 1);
  known_to_all_.assign(num_threads_, 0);
  for (Clocks& row : known_) row.clear();
  released_.clear();
  learnt_.clear();
}

std::string RaceChecker::Check(int thread, const void* address, size_t bytes, Access access,
                               const void* instruction) {
  return CheckPlace(thread, address, bytes, access, InstructionOffset(instruction));
}

std::string RaceChecker::Check(int thread, const void* address, size_t bytes, Access access,
                               const Site& site) {
  const bool same =
      !sites_.empty() && sites_.back().line() == site.line() && sites_.back().file_name() == site.file_name();
  if (!same) sites_.push_back(site);
  return CheckPlace(thread, address, bytes, access, static_cast<uint32_t>(sites_.size() - 1) | kIsSite);
}

std::string RaceChecker::CheckPlace(int thread, const void* address, size_t bytes, Access access,
                                    uint32_t place) {
  bool is_shared = false;
  const Epoch now = {block_, clock_[thread], place, static_cast<uint16_t>(thread), access};
  for (size_t byte = 0; byte < bytes; ++byte) {
    const auto* at = static_cast<const char*>(address) + byte;
    Cell* cell = CellOf(at, &is_shared);
    if (cell == nullptr) return "";
    if (is_shared && shared_.Locate(at).empty())
      return "access outside every shared array at " + Describe(now);
    const std::string wrong = CheckCell(*cell, now, is_shared);
    if (!wrong.empty()) return wrong + ", " + (is_shared ? shared_.Locate(at) : "global memory");
    Remember(*cell, now, is_shared);
  }
  if (access == Access::kAtomic && !is_shared) OrderBlocks(address, thread);
  return "";
}

void RaceChecker::MarkWritten(const void* address, size_t bytes) {
  bool is_shared = false;
  for (size_t byte = 0; byte < bytes; ++byte) {
    Cell* cell = CellOf(static_cast<const char*>(address) + byte, &is_shared);
    if (cell != nullptr) *cell = {{block_, 0, 0, 0, Access::kWrite}, {}};
  }
}

// nullptr: on the stack of a thread, its own.
RaceChecker::Cell* RaceChecker::CellOf(const void* address, bool* is_shared) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  const auto arena = reinterpret_cast<uintptr_t>(shared_.base());
  *is_shared = at >= arena && at < arena + SharedMemory::kArenaBytes;
  if (*is_shared) return &shared_cells_[at - arena];
  if (pool_.IsStack(address)) return nullptr;
  std::vector<Cell>& page = global_cells_[at / kPageBytes];
  if (page.empty()) page.resize(kPageBytes);
  return &page[at % kPageBytes];
}

std::string RaceChecker::CheckCell(Cell& cell, const Epoch& now, bool is_shared) {
  if (is_shared && IsRead(now.access) && cell.write.block != block_)
    return "reads shared memory that nobody has written at " + Describe(now);
  const Epoch* others[3] = {&cell.write, &cell.reads[0], &cell.reads[1]};
  for (const Epoch* before : others) {
    if (before->block == 0 || !Conflict(before->access, now.access) || IsOrdered(*before, now, is_shared))
      continue;
    return std::string("race (") + Name(before->access) + ", " + Name(now.access) +
           "): " + Describe(*before) + " and " + Describe(now);
  }
  return "";
}

bool RaceChecker::IsOrdered(const Epoch& before, const Epoch& now, bool is_shared) const {
  if (before.block == block_ && before.access == Access::kWarpRead &&
      before.thread / kLanes == now.thread / kLanes)
    return true;
  if (before.block == block_)
    return before.thread == now.thread || before.clock <= Known(now.thread, before.thread);
  if (is_shared || before.block < first_block_of_launch_) return true;
  const auto learnt = learnt_.find(before.block);
  return learnt != learnt_.end() && before.clock <= learnt->second[before.thread];
}

void RaceChecker::Remember(Cell& cell, const Epoch& now, bool is_shared) const {
  if (!IsRead(now.access)) {
    cell = {now, {}};
    return;
  }
  for (Epoch& read : cell.reads) {
    if (read.block == 0 || (read.block == block_ && read.thread == now.thread) ||
        IsOrdered(read, now, is_shared)) {
      read = now;
      return;
    }
  }
  cell.reads[0] = cell.reads[1];
  cell.reads[1] = now;
}

// An atomic on global memory: learn from the blocks that did one on this address before, and tell those
// after.
void RaceChecker::OrderBlocks(const void* address, int thread) {
  std::map<uint32_t, Clocks>& of_blocks = atomics_[address];
  for (const auto& [block, clocks] : of_blocks)
    if (block != block_) JoinInto(learnt_[block], clocks);
  Clocks& mine = of_blocks[block_];
  mine.resize(num_threads_);
  for (int other = 0; other < num_threads_; ++other)
    mine[other] = std::max(mine[other], Known(thread, other));
  mine[thread] = clock_[thread]++;
}

uint32_t RaceChecker::Known(int thread, int other) const {
  const Clocks& row = known_[thread];
  return row.empty() ? known_to_all_[other] : std::max(row[other], known_to_all_[other]);
}

void RaceChecker::MeetAll() {
  for (int thread = 0; thread < num_threads_; ++thread) known_to_all_[thread] = clock_[thread]++;
}

void RaceChecker::Meet(const Masks& arrived, const Masks& waiting) {
  Clocks joined(num_threads_);
  ForThreads(arrived, [&](int thread) {
    JoinInto(joined, known_[thread]);
    joined[thread] = clock_[thread];
  });
  ForThreads(waiting, [&](int thread) { known_[thread] = joined; });
  ForThreads(arrived, [&](int thread) { ++clock_[thread]; });
}

void RaceChecker::Release(const void* object, int thread) {
  Clocks& released = released_[object];
  released.resize(num_threads_);
  JoinInto(released, known_[thread]);
  released[thread] = clock_[thread]++;
}

void RaceChecker::Acquire(const void* object, int thread) {
  const auto released = released_.find(object);
  if (released == released_.end()) return;
  known_[thread].resize(num_threads_);
  JoinInto(known_[thread], released->second);
}

std::string RaceChecker::Describe(const Epoch& epoch) const {
  std::string place = "an asynchronous copy";
  if ((epoch.place & kIsSite) != 0) {
    place = Place(sites_[epoch.place & ~kIsSite]);
  } else if (epoch.place != 0) {
    place = SourceLine(epoch.place);
  }
  std::string text = std::string("thread ") + std::to_string(epoch.thread);
  if (epoch.block != block_)
    text += std::string(" of block ") + std::to_string(epoch.block - first_block_of_launch_);
  return text + " at " + place;
}

}  // namespace trireme::emulator
