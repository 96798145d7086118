// One emulated thread block: its threads are fibers that run one at a time, each until it has to wait for
// others.
//
// A thread that waits is taken off `ready` and leaves; whoever ends the wait puts it back. The next to run is
// a ready lane of the same warp, else a lane of it that has not started, else another warp: so one warp runs
// as far ahead as its barriers allow. When nobody is ready, what is due only then happens (idle work:
// asynchronous copies, threads that poll), and if that wakes nobody either, the block is stuck: an error that
// lists who waits where.
#ifndef TRIREME_TESTS_EMULATOR_BLOCK_H_
#define TRIREME_TESTS_EMULATOR_BLOCK_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/emulator/async_copy.h"
#include "tests/emulator/emulator.h"
#include "tests/emulator/fiber.h"
#include "tests/emulator/race_checker.h"
#include "tests/emulator/shared_memory.h"
#include "tests/emulator/tma.h"
#include "tests/emulator/types.h"
#include "tests/emulator/wgmma.h"

// Of the running thread, as CUDA names them.
extern constinit thread_local uint3 threadIdx;
extern constinit thread_local uint3 blockIdx;
extern constinit thread_local dim3 blockDim;
extern constinit thread_local dim3 gridDim;

namespace trireme::emulator {

inline constexpr int kLanes = 32;
inline constexpr int kMaxThreads = 1024;
inline constexpr int kNumBarriers = 16;
inline constexpr int kMaxWarpgroups = kMaxThreads / kWarpgroupThreads;

struct LaunchConfig {
  const char* kernel;
  dim3 grid;
  dim3 block;
  size_t dynamic_shared_bytes;
  // Runs the kernel's body for the current thread.
  void (*run)(const void* context);
  const void* context;
};

struct Thread {
  Fiber* fiber = nullptr;  // from its first instruction to its last
  uint3 index = {0, 0, 0};
  int rank = 0;  // in the block
  bool polls = false;
  const char* waits_for = nullptr;  // nullptr: it does not wait
  Site site;
  CopyQueue copies;
  TmaStores stores;
  WgmmaQueue wgmma;

  int warp() const { return rank / kLanes; }
  int lane() const { return rank % kLanes; }
  uint32_t lane_bit() const { return 1u << lane(); }
};

// A collective of a warp: each lane writes its operands to its column of `words` and waits; the last to
// arrive does the work for all of them.
struct WarpExchange {
  static constexpr int kWords = 16;
  uint32_t words[kWords][kLanes];
};
struct WarpOp {
  const char* name;
  // Works on the columns of the lanes in `mask`, and no others.
  void (*complete)(WarpExchange& exchange, uint32_t mask);
};

struct Warp {
  uint32_t members = 0;   // lanes that exist
  uint32_t fresh = 0;     // not started
  uint32_t ready = 0;     // can go on
  uint32_t returned = 0;  // are done
  uint32_t arrived = 0;   // wait in a collective
  WarpExchange exchange;
  std::array<const WarpOp*, kLanes> op = {};
  std::array<uint32_t, kLanes> mask = {};
};

// __syncthreads is barrier 0 of all threads; those up to 15 have their own counts; then one for each
// warpgroup.
struct Barrier {
  int arrived = 0;
  int expected = 0;
  RaceChecker::Masks waiting = {};
  RaceChecker::Masks came = {};  // all of them, kept while races are looked for
  Site first_site;
  // Of predicates, for __syncthreads_or and its kin.
  int num_true = 0;
  int result = 0;
};

class Block {
 public:
  Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // Runs the whole grid, block after block, on the calling operating-system thread.
  void RunGrid(const LaunchConfig& config);

  Thread& current() { return *current_; }
  Warp& warp_of(const Thread& thread) { return warps_[thread.warp()]; }
  SharedMemory& shared() { return shared_; }
  TmaLoads& loads() { return loads_; }
  // nullptr: races are not looked for.
  RaceChecker* race() { return race_; }
  // Whether a thread runs, and not the launching program.
  bool in_thread() { return pool_.current() != pool_.main(); }
  int num_threads() const { return num_threads_; }
  uint64_t launch_id() const { return launch_id_; }
  bool running() const { return config_ != nullptr; }

  // The current thread takes part in a collective of the lanes in `mask`; its operands are in its column.
  void Collect(const WarpOp& op, uint32_t mask, Site site);
  // The current thread arrives at a barrier of `expected` threads, and waits for the others unless it only
  // arrives. Returns how many predicates were true.
  int Arrive(int barrier, int expected, bool wait, bool predicate, const char* name, Site site);
  // The current thread meets the 127 others of its warpgroup; the last runs `complete(its threads, argument,
  // site)`.
  void MeetWarpgroup(const char* name, Site site, void (*complete)(Thread* group, int argument, Site site),
                     int argument);
  // The current thread goes on once `condition(state)`, which is asked again whenever nobody else can run.
  void Poll(bool (*condition)(void* state), void* state, const char* name, Site site);
  void Wake(int warp, uint32_t lanes);
  // Something happened that polling threads may wait for.
  void Progress() { idle_rounds_ = 0; }

  // The current thread's declared array, placed at its first use in this launch.
  void* PlaceShared(const char* name, size_t bytes, Site site);

  // The current thread, in a function of the emulator, accesses memory that it shares with others.
  void CheckRace(const void* address, size_t bytes, Access access, Site site);

  // A rule is broken: says so with kernel, block, thread and place, and does not return.
  [[noreturn]] void Fail(const std::string& what, Site site);
  [[noreturn]] void Fail(const std::string& what);  // the place is in `what`

 private:
  // Unwinds the thread that broke a rule; the others are left where they wait, and own nothing.
  struct Abandoned {};

  static void FiberBody();
  bool RunCurrent(Thread** next);
  void RunBlock(const uint3& index);
  void RunThreads();
  Thread* PickNext();
  Thread* Take(int warp, int lane);
  bool Idle();
  void Leave();
  void SwitchTo(Thread* next);
  void MakeCurrent(Thread* thread);
  void Finish();
  void CheckLaunch(const LaunchConfig& config);
  void CheckMask(const WarpOp& op, uint32_t mask, Site site);
  void CompleteCollective(const WarpOp& op, uint32_t mask, Site site);
  void CheckBarrier(const Barrier& barrier, bool of_block, int expected, const char* name, Site site);
  void MeetForRaces(Barrier& barrier, bool of_block, bool last_waits);
  void WaitAt(Barrier& barrier, const char* name, Site site);
  void ReleaseBarrier(Barrier& barrier);
  std::string Waiters() const;
  std::string Where() const;
  [[noreturn]] void FailStuck();
  [[noreturn]] void FailWith(const std::string& message);
  int AnyBit(uint32_t bits);
  uint64_t Random();
  void Reset();

  FiberPool pool_;
  SharedMemory shared_;
  TmaLoads loads_;
  std::unique_ptr<RaceChecker> race_checker_;
  RaceChecker* race_ = nullptr;
  const LaunchConfig* config_ = nullptr;
  Order order_ = Order::kForward;
  uint64_t launch_id_ = 0;
  uint64_t random_ = 1;
  int num_threads_ = 0;
  int num_warps_ = 0;
  int num_returned_ = 0;
  int num_polling_ = 0;
  int idle_rounds_ = 0;  // since anything but polling happened
  int current_warp_ = 0;
  uint32_t runnable_warps_ = 0;
  Thread* current_ = nullptr;
  std::array<Warp, kMaxThreads / kLanes> warps_;
  std::array<Barrier, kNumBarriers + kMaxWarpgroups> barriers_;
  std::vector<Thread> threads_;
  std::string failure_;
};

// Of the calling operating-system thread, while it runs a kernel.
extern constinit thread_local Block* current_block;
inline Block& CurrentBlock() {
  return *current_block;
}

// Runs a grid on the calling operating-system thread.
void RunGrid(const LaunchConfig& config);

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_BLOCK_H_
