// Finds accesses of two threads to the same byte that no barrier orders, whatever order they happened to run
// in.
//
// Kernels are compiled with -fsanitize=thread, which puts a call before every access; race_hooks.cc answers
// those calls (ThreadSanitizer itself is not linked) and hands them on to here. Every byte of shared memory,
// and of what cudaMalloc gave, has a cell with its last write and last two reads. Vector clocks say what a
// thread has seen of the others:
// __syncthreads, __syncwarp, named barriers and mbarriers join them; shuffles and votes do not, as on a GPU.
// Blocks of one launch are unordered, except from an atomic on global memory to a later one on the same
// address.
#ifndef TRIREME_TESTS_EMULATOR_RACE_CHECKER_H_
#define TRIREME_TESTS_EMULATOR_RACE_CHECKER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/emulator/emulator.h"

namespace trireme::emulator {

class FiberPool;
class SharedMemory;

// kWarpRead: by ldmatrix, which no lane leaves before the whole warp has read.
enum class Access : uint8_t { kRead, kWarpRead, kWrite, kAtomic };

// An access, as a cell remembers it.
struct Epoch {
  uint32_t block = 0;  // counted over all launches; 0: there was none
  uint32_t clock = 0;
  uint32_t place = 0;
  uint16_t thread = 0;
  Access access = Access::kRead;
};

class RaceChecker {
 public:
  RaceChecker(const SharedMemory& shared, const FiberPool& pool);

  void StartLaunch(int num_threads);
  void StartBlock();

  // The running thread accesses these bytes, at an instruction or at a line. Returns what is wrong, or "".
  std::string Check(int thread, const void* address, size_t bytes, Access access, const void* instruction);
  std::string Check(int thread, const void* address, size_t bytes, Access access, const Site& site);
  // Written by a copy that its own barrier orders.
  void MarkWritten(const void* address, size_t bytes);

  // All threads of the block meet; threads meet, and those in `waiting` learn what all of `arrived` knew
  // (masks by warp).
  void MeetAll();
  using Masks = std::array<uint32_t, 32>;
  void Meet(const Masks& arrived, const Masks& waiting);
  // What a thread knew at Release is known to one that does Acquire of the same object.
  void Release(const void* object, int thread);
  void Acquire(const void* object, int thread);

 private:
  struct Cell {
    Epoch write;
    Epoch reads[2];
  };
  using Clocks = std::vector<uint32_t>;

  std::string CheckPlace(int thread, const void* address, size_t bytes, Access access, uint32_t place);
  Cell* CellOf(const void* address, bool* is_shared);
  std::string CheckCell(Cell& cell, const Epoch& now, bool is_shared);
  bool IsOrdered(const Epoch& before, const Epoch& now, bool is_shared) const;
  void OrderBlocks(const void* address, int thread);
  void Remember(Cell& cell, const Epoch& now, bool is_shared) const;
  uint32_t Known(int thread, int other) const;
  std::string Describe(const Epoch& epoch) const;

  const SharedMemory& shared_;
  const FiberPool& pool_;
  int num_threads_ = 0;
  uint32_t block_ = 0;
  uint32_t first_block_of_launch_ = 0;
  Clocks clock_;               // of each thread of the block
  Clocks known_to_all_;        // at the last __syncthreads
  std::vector<Clocks> known_;  // [thread][other], beyond that
  std::unordered_map<const void*, Clocks> released_;
  // Of the blocks that did an atomic on an address: what they knew of their threads; and what this block
  // learnt so.
  std::unordered_map<const void*, std::map<uint32_t, Clocks>> atomics_;
  std::map<uint32_t, Clocks> learnt_;
  std::vector<Cell> shared_cells_;
  std::unordered_map<uintptr_t, std::vector<Cell>> global_cells_;  // by page
  std::vector<Site> sites_;
};

// Whether launches are checked; the calling program's kernels must have been compiled for it.
void SetRaceChecking(bool on);
bool RaceChecking();

// Called by race_hooks.cc: an access by whatever is running, at its return address.
void OnAccess(const void* address, size_t bytes, Access access, const void* instruction);

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_RACE_CHECKER_H_
