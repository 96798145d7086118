// How threads of a block wait for each other: collectives of a warp, barriers, and what is said when they
// never meet.
#include <bit>
#include <cstdio>
#include <cstring>
#include <map>
#include <tuple>

#include "tests/emulator/block.h"
#include "tests/emulator/failure.h"
#include "tests/emulator/warp.h"

namespace trireme::emulator {
namespace {

bool SameLine(const Site& a, const Site& b) {
  return a.line() == b.line() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

std::string Triple(const uint3& index) {
  char text[48];
  std::snprintf(text, sizeof(text), "(%u, %u, %u)", index.x, index.y, index.z);
  return text;
}

std::string Hexadecimal(uint32_t mask) {
  char text[16];
  std::snprintf(text, sizeof(text), "0x%08x", mask);
  return text;
}

}  // namespace

void Block::Collect(const WarpOp& op, uint32_t mask, Site site) {
  Thread& self = *current_;
  Warp& warp = warp_of(self);
  CheckMask(op, mask, site);
  warp.op[self.lane()] = &op;
  warp.mask[self.lane()] = mask;
  self.site = site;
  warp.arrived |= self.lane_bit();
  if ((warp.arrived & mask) == mask) {
    CompleteCollective(op, mask, site);
    return;
  }
  self.waits_for = op.name;
  Leave();
  self.waits_for = nullptr;
}

void Block::CheckMask(const WarpOp& op, uint32_t mask, Site site) {
  const Warp& warp = warp_of(*current_);
  if ((mask & current_->lane_bit()) == 0)
    Fail(std::string(op.name) + ": the mask " + Hexadecimal(mask) + " does not have the calling lane", site);
  if ((mask & ~warp.members) != 0)
    Fail(std::string(op.name) + ": the mask " + Hexadecimal(mask) + " has lanes that do not exist", site);
  if ((mask & warp.returned) != 0)
    Fail(std::string(op.name) + ": the mask " + Hexadecimal(mask) + " has lanes that have returned", site);
}

void Block::CompleteCollective(const WarpOp& op, uint32_t mask, Site site) {
  Warp& warp = warp_of(*current_);
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    if (warp.op[lane] == &op && warp.mask[lane] == mask) continue;
    const Thread& other = threads_[current_->warp() * kLanes + lane];
    Fail(std::string(op.name) + " with mask " + Hexadecimal(mask) + " meets " + warp.op[lane]->name +
             " with mask " + Hexadecimal(warp.mask[lane]) + " of lane " + std::to_string(lane) + " at " +
             Place(other.site),
         site);
  }
  warp.arrived &= ~mask;
  if (op.complete != nullptr) op.complete(warp.exchange, mask);
  if (race_ != nullptr && &op == &kSyncWarp) {
    RaceChecker::Masks masks = {};
    masks[current_->warp()] = mask;
    race_->Meet(masks, masks);
  }
  idle_rounds_ = 0;
  Wake(current_->warp(), mask & ~current_->lane_bit());
}

int Block::Arrive(int index, int expected, bool wait, bool predicate, const char* name, Site site) {
  Barrier& barrier = barriers_[index];
  CheckBarrier(barrier, index == 0, expected, name, site);
  if (barrier.arrived == 0) {
    barrier.expected = expected;
    barrier.first_site = site;
  }
  ++barrier.arrived;
  barrier.num_true += predicate ? 1 : 0;
  if (race_ != nullptr) barrier.came[current_->warp()] |= current_->lane_bit();
  if (barrier.arrived == expected) {
    if (race_ != nullptr) MeetForRaces(barrier, index == 0, wait);
    ReleaseBarrier(barrier);
  } else if (wait) {
    WaitAt(barrier, name, site);
  }
  return barrier.result;
}

void Block::MeetForRaces(Barrier& barrier, bool of_block, bool last_waits) {
  if (of_block) {
    race_->MeetAll();
  } else {
    RaceChecker::Masks waiting = barrier.waiting;
    if (last_waits) waiting[current_->warp()] |= current_->lane_bit();
    race_->Meet(barrier.came, waiting);
  }
  barrier.came = {};
}

void Block::CheckRace(const void* address, size_t bytes, Access access, Site site) {
  if (race_ == nullptr) return;
  const std::string wrong = race_->Check(current_->rank, address, bytes, access, site);
  if (!wrong.empty()) Fail(wrong);
}

void Block::WaitAt(Barrier& barrier, const char* name, Site site) {
  Thread& self = *current_;
  barrier.waiting[self.warp()] |= self.lane_bit();
  self.site = site;
  self.waits_for = name;
  Leave();
  self.waits_for = nullptr;
}

void Block::MeetWarpgroup(const char* name, Site site,
                          void (*complete)(Thread* group, int argument, Site site), int argument) {
  const int index = current_->rank / kWarpgroupThreads;
  Barrier& barrier = barriers_[kNumBarriers + index];
  if (++barrier.arrived < kWarpgroupThreads) {
    WaitAt(barrier, name, site);
    return;
  }
  complete(&threads_[index * kWarpgroupThreads], argument, site);
  ReleaseBarrier(barrier);
}

void Block::CheckBarrier(const Barrier& barrier, bool of_block, int expected, const char* name, Site site) {
  if (of_block && num_returned_ > 0)
    Fail(std::string(name) + ": " + std::to_string(num_returned_) + " threads of the block have returned",
         site);
  if (barrier.arrived == 0) return;
  if (of_block && !SameLine(barrier.first_site, site))
    Fail(std::string(name) + ": diverged, others wait at " + Place(barrier.first_site), site);
  if (barrier.expected != expected)
    Fail(std::string(name) + " of " + std::to_string(expected) + " threads meets one of " +
             std::to_string(barrier.expected) + " at " + Place(barrier.first_site),
         site);
}

void Block::ReleaseBarrier(Barrier& barrier) {
  barrier.result = barrier.num_true;
  barrier.num_true = barrier.arrived = 0;
  idle_rounds_ = 0;
  for (int w = 0; w < num_warps_; ++w) {
    Wake(w, barrier.waiting[w]);
    barrier.waiting[w] = 0;
  }
}

std::string Block::Waiters() const {
  struct Group {
    int count = 0;
    const Thread* first = nullptr;
  };
  std::map<std::tuple<std::string, std::string>, Group> groups;
  for (int i = 0; i < num_threads_; ++i) {
    const Thread& thread = threads_[i];
    if (thread.waits_for == nullptr) continue;
    Group& group = groups[{thread.waits_for, Place(thread.site)}];
    if (group.count++ == 0) group.first = &thread;
  }
  std::string text;
  for (const auto& [key, group] : groups) {
    const auto& [name, place] = key;
    text += std::string("\n  ") + std::to_string(group.count) + " threads, the first " +
            Triple(group.first->index) + ", in " + name + " at " + place;
  }
  return text;
}

void Block::FailStuck() {
  const std::string returned =
      num_returned_ > 0 ? std::string("\n  ") + std::to_string(num_returned_) + " have returned" : "";
  FailWith(Where() + ": stuck, every thread waits:" + Waiters() + returned);
}

std::string Block::Where() const {
  return std::string("kernel ") + config_->kernel + ", block " + Triple(blockIdx);
}

void Block::Fail(const std::string& what, Site site) {
  Fail(what + ", at " + Place(site));
}

void Block::Fail(const std::string& what) {
  FailWith(Where() + ", thread " + Triple(current_->index) + ": " + what);
}

void Block::FailWith(const std::string& message) {
  if (CurrentOnFailure() == OnFailure::kAbort) ReportFailure(message);
  failure_ = message;
  throw Abandoned();
}

}  // namespace trireme::emulator
