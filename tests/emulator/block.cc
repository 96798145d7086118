#include "tests/emulator/block.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <memory>
#include <numeric>

#include "tests/emulator/failure.h"

constinit thread_local uint3 threadIdx = {0, 0, 0};
constinit thread_local uint3 blockIdx = {0, 0, 0};
constinit thread_local dim3 blockDim;
constinit thread_local dim3 gridDim;

namespace trireme::emulator {

constinit thread_local Block* current_block = nullptr;

namespace {

std::atomic<int64_t> num_blocks_run = 0;

uint3 IndexOf(uint64_t rank, const dim3& sizes) {
  const uint64_t plane = uint64_t{sizes.x} * sizes.y;
  return {static_cast<unsigned>(rank % sizes.x), static_cast<unsigned>(rank / sizes.x % sizes.y),
          static_cast<unsigned>(rank / plane)};
}

int LowestBit(uint32_t bits) {
  return std::countr_zero(bits);
}
int HighestBit(uint32_t bits) {
  return 31 - std::countl_zero(bits);
}

}  // namespace

int64_t NumBlocksRun() {
  return num_blocks_run;
}

void RunGrid(const LaunchConfig& config) {
  thread_local std::unique_ptr<Block> block;
  if (block == nullptr) {
    block = std::make_unique<Block>();
    current_block = block.get();
  }
  block->RunGrid(config);
}

Block::Block() : pool_(&Block::FiberBody, kMaxThreads), threads_(kMaxThreads) {
  for (int i = 0; i < kMaxThreads; ++i) threads_[i].rank = i;
}

void Block::RunGrid(const LaunchConfig& config) {
  CheckLaunch(config);
  config_ = &config;
  ++launch_id_;
  order_ = CurrentOrder();
  random_ = RandomSeed();
  blockDim = config.block;
  gridDim = config.grid;
  num_threads_ = static_cast<int>(config.block.x * config.block.y * config.block.z);
  num_warps_ = (num_threads_ + kLanes - 1) / kLanes;
  for (int i = 0; i < num_threads_; ++i) threads_[i].index = IndexOf(i, config.block);
  for (int w = 0; w < num_warps_; ++w) {
    const int lanes = std::min(kLanes, num_threads_ - w * kLanes);
    warps_[w].members = lanes == kLanes ? ~0u : (1u << lanes) - 1;
  }
  shared_.StartLaunch(config.dynamic_shared_bytes);
  if (RaceChecking() && race_checker_ == nullptr)
    race_checker_ = std::make_unique<RaceChecker>(shared_, pool_);
  race_ = RaceChecking() ? race_checker_.get() : nullptr;
  if (race_ != nullptr) race_->StartLaunch(num_threads_);
  const uint64_t num_blocks = uint64_t{config.grid.x} * config.grid.y * config.grid.z;
  std::vector<uint32_t> shuffled(order_ == Order::kRandom ? num_blocks : 0);
  std::iota(shuffled.begin(), shuffled.end(), 0u);
  for (size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[Random() % i]);
  for (uint64_t i = 0; i < num_blocks; ++i) {
    uint64_t rank = i;
    if (order_ == Order::kReverse) rank = num_blocks - 1 - i;
    if (order_ == Order::kRandom) rank = shuffled[i];
    RunBlock(IndexOf(rank, config.grid));
  }
  Reset();
}

void Block::CheckLaunch(const LaunchConfig& config) {
  if (running()) Fail("a kernel launches a kernel", Site::current());
  const uint64_t threads = uint64_t{config.block.x} * config.block.y * config.block.z;
  std::string wrong;
  if (threads == 0 || threads > kMaxThreads || config.block.z > 64)
    wrong = "a block of " + std::to_string(threads) + " threads";
  if (config.grid.x > 0x7fffffffu || config.grid.y > 65535 || config.grid.z > 65535)
    wrong = "a grid of " + std::to_string(config.grid.x) + " x " + std::to_string(config.grid.y) + " x " +
            std::to_string(config.grid.z);
  if (config.dynamic_shared_bytes > SharedMemory::kMaxBytes)
    wrong = std::to_string(config.dynamic_shared_bytes) + " bytes of dynamic shared memory";
  if (wrong.empty()) return;
  ReportFailure("launch of " + std::string(config.kernel) + ": " + wrong);
}

void Block::RunBlock(const uint3& index) {
  blockIdx = index;
  for (int w = 0; w < num_warps_; ++w) {
    Warp& warp = warps_[w];
    warp.fresh = warp.members;
    warp.ready = warp.returned = warp.arrived = 0;
  }
  runnable_warps_ = num_warps_ == 32 ? ~0u : (1u << num_warps_) - 1;
  num_returned_ = num_polling_ = idle_rounds_ = 0;
  current_warp_ = order_ == Order::kReverse ? num_warps_ - 1 : 0;
  shared_.StartBlock();
  if (race_ != nullptr) race_->StartBlock();
  Thread* first = PickNext();
  first->fiber = pool_.Take();
  MakeCurrent(first);
  pool_.SwitchTo(first->fiber);
  if (failure_.empty()) {
    if (!loads_.empty()) failure_ = Where() + ": ends while a TMA load is in flight";
    const std::string overrun = shared_.Overrun();
    if (!overrun.empty()) failure_ = Where() + ": something wrote behind the end of " + overrun;
  }
  num_blocks_run.fetch_add(1, std::memory_order_relaxed);
  if (failure_.empty()) return;
  const std::string message = failure_;
  pool_.Reset();
  Reset();
  ReportFailure(message);
}

void Block::Reset() {
  for (int i = 0; i < num_threads_; ++i) {
    Thread& thread = threads_[i];
    thread.fiber = nullptr;
    thread.waits_for = nullptr;
    thread.polls = false;
    thread.copies.Clear();
    thread.stores.Clear();
    thread.wgmma.Clear();
  }
  for (Barrier& barrier : barriers_) barrier = Barrier();
  loads_.Clear();
  shared_.EndLaunch();
  failure_.clear();
  config_ = nullptr;
}

void Block::FiberBody() {
  Block& block = CurrentBlock();
  for (;;) {
    Thread* next = nullptr;
    if (!block.RunCurrent(&next)) block.pool_.AbandonTo(block.pool_.main());
    Thread* self = block.current_;
    Fiber* fiber = self->fiber;
    self->fiber = nullptr;
    if (next != nullptr && next->fiber == nullptr) {  // starts right here, on the same stack
      next->fiber = fiber;
      block.MakeCurrent(next);
      continue;
    }
    block.pool_.GiveBack(fiber);
    if (next == nullptr) {
      block.pool_.SwitchTo(block.pool_.main());
    } else {
      block.SwitchTo(next);
    }
  }
}

// From the current thread's first instruction to its last. Whether no rule was broken, and who is next.
bool Block::RunCurrent(Thread** next) {
  try {
    config_->run(config_->context);
    Finish();
    *next = PickNext();
  } catch (const Abandoned&) {
    return false;
  }
  return true;
}

void Block::MakeCurrent(Thread* thread) {
  current_ = thread;
  threadIdx = thread->index;
}

void Block::SwitchTo(Thread* next) {
  if (next->fiber == nullptr) next->fiber = pool_.Take();
  MakeCurrent(next);
  pool_.SwitchTo(next->fiber);
}

void Block::Leave() {
  Thread* next = PickNext();
  if (next != current_) SwitchTo(next);
}

Thread* Block::PickNext() {
  for (;;) {
    const Warp& warp = warps_[current_warp_];
    if (order_ == Order::kRandom && runnable_warps_ != 0) {
      const int w = AnyBit(runnable_warps_);
      return Take(w, AnyBit(warps_[w].ready | warps_[w].fresh));
    }
    const uint32_t lanes = warp.ready != 0 ? warp.ready : warp.fresh;
    if (lanes != 0)
      return Take(current_warp_, order_ == Order::kReverse ? HighestBit(lanes) : LowestBit(lanes));
    if (runnable_warps_ != 0) {
      current_warp_ = order_ == Order::kReverse ? HighestBit(runnable_warps_) : LowestBit(runnable_warps_);
    } else if (!Idle()) {
      return nullptr;
    }
  }
}

Thread* Block::Take(int w, int lane) {
  Warp& warp = warps_[w];
  warp.ready &= ~(1u << lane);
  warp.fresh &= ~(1u << lane);
  if ((warp.ready | warp.fresh) == 0) runnable_warps_ &= ~(1u << w);
  current_warp_ = w;
  return &threads_[w * kLanes + lane];
}

int Block::AnyBit(uint32_t bits) {
  for (uint64_t skip = Random() % std::popcount(bits); skip > 0; --skip) bits &= bits - 1;
  return LowestBit(bits);
}

uint64_t Block::Random() {  // xorshift64: Marsaglia, "Xorshift RNGs", 2003
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return random_;
}

bool Block::Idle() {
  constexpr int kStuck = 1000;  // rounds in which every thread polled and nothing else happened
  if (num_returned_ == num_threads_) return false;
  if (!loads_.empty()) {
    size_t next = 0;
    if (order_ == Order::kReverse) next = loads_.size() - 1;
    if (order_ == Order::kRandom) next = Random() % loads_.size();
    loads_.Finish(next);
    Progress();
  } else if (num_polling_ == 0 || ++idle_rounds_ > kStuck) {
    FailStuck();
  }
  for (int i = 0; i < num_threads_; ++i) {
    if (!threads_[i].polls) continue;
    threads_[i].polls = false;
    Wake(threads_[i].warp(), threads_[i].lane_bit());
  }
  num_polling_ = 0;
  return true;
}

void Block::Wake(int w, uint32_t lanes) {
  warps_[w].ready |= lanes;
  if (lanes != 0) runnable_warps_ |= 1u << w;
}

void Block::Poll(bool (*condition)(void* state), void* state, const char* name, Site site) {
  Thread& self = *current_;
  self.site = site;
  self.waits_for = name;
  do {
    self.polls = true;
    ++num_polling_;
    Leave();
  } while (!condition(state));
  self.waits_for = nullptr;
}

void Block::Finish() {
  Warp& warp = warp_of(*current_);
  const uint32_t bit = current_->lane_bit();
  for (uint32_t rest = warp.arrived; rest != 0; rest &= rest - 1) {
    const int lane = LowestBit(rest);
    if ((warp.mask[lane] & bit) != 0)
      Fail("returns while other lanes wait for it in " + std::string(warp.op[lane]->name),
           threads_[current_->warp() * kLanes + lane].site);
  }
  if (barriers_[0].arrived > 0)
    Fail("returns while other threads wait for it in __syncthreads", barriers_[0].first_site);
  if (!current_->wgmma.empty()) Fail("returns with products in flight", Site::current());
  warp.returned |= bit;
  ++num_returned_;
  idle_rounds_ = 0;
  current_->copies.Clear();
  current_->stores.Clear();
}

void* Block::PlaceShared(const char* name, size_t bytes, Site site) {
  void* array = shared_.Place(name, bytes);
  if (array == nullptr)
    Fail("shared array " + std::string(name) + " of " + std::to_string(bytes) +
             " bytes exceeds what a block may have",
         site);
  return array;
}

}  // namespace trireme::emulator
