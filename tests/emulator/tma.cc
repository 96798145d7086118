// mbarriers, TMA and named barriers. Source: PTX ISA, "mbarrier" and "Tensor copies".
#include "tests/emulator/tma.h"

#include <cstring>

#include "runtime/cuda/hopper.h"
#include "tests/emulator/address_sanitizer.h"
#include "tests/emulator/block.h"
#include "tests/emulator/failure.h"

namespace trireme {
namespace emulator {
namespace {

constexpr int kPieceBytes = 16;

void CheckBarrier(const Mbarrier* barrier, const char* name, Site site) {
  Block& block = CurrentBlock();
  if (!block.shared().Contains(barrier, sizeof(Mbarrier)) || reinterpret_cast<uintptr_t>(barrier) % 8 != 0)
    block.Fail(std::string(name) + ": the barrier is not in shared memory", site);
  if (barrier->uninitialised) block.Fail(std::string(name) + ": the barrier is not initialised", site);
}

void CompletePhaseIfDone(Mbarrier* barrier) {
  if (barrier->pending > 0 || barrier->bytes != 0) return;
  barrier->phase ^= 1;
  barrier->pending = barrier->expected;
  CurrentBlock().Progress();
}

void Arrive(Mbarrier* barrier, const char* name, Site site) {
  CheckBarrier(barrier, name, site);
  if (barrier->pending == 0)
    CurrentBlock().Fail(std::string(name) + ": more arrivals than the barrier expects in a phase", site);
  if (CurrentBlock().race() != nullptr)
    CurrentBlock().race()->Release(barrier, CurrentBlock().current().rank);
  --barrier->pending;
  CompletePhaseIfDone(barrier);
}

// Calls f(bytes from the start of the tile, address of the 16 bytes in global memory or nullptr outside, how
// many of the 16 are inside) for every piece of the box.
template <typename F>
void ForPieces(const TmaCopy& copy, F f) {
  const TensorMap& map = copy.map;
  for (int r = 0; r < map.box_rows; ++r) {
    for (int c = 0; c < kTileColumns; c += kVectorSize<bf16>) {
      const int64_t row = copy.row + r;
      const int64_t column = copy.column + c;
      // A box may start before the matrix, at any column.
      for (int i = 0; i < kVectorSize<bf16>; ++i) {
        const bool inside = row >= 0 && row < map.rows && column + i >= 0 && column + i < map.columns;
        f(Swizzle((r * kTileColumns + c + i) * 2),
          inside ? map.data + row * map.row_stride + column + i : nullptr);
      }
    }
  }
}

void CheckTile(const char* name, const void* tile, const TensorMap& map, Site site) {
  Block& block = CurrentBlock();
  const size_t bytes = static_cast<size_t>(map.box_rows) * kTileRowBytes;
  if (!block.shared().Contains(tile, bytes))
    block.Fail(std::string(name) + ": outside every shared array", site);
  if (block.shared().AddressOf(tile) % kTileAlignment != 0)
    block.Fail(std::string(name) + ": the tile is not aligned to 1024 bytes", site);
}

bool PhaseIsDone(void* state);
struct PhaseWait {
  const Mbarrier* barrier;
  int parity;
};
bool PhaseIsDone(void* state) {
  const auto* wait = static_cast<const PhaseWait*>(state);
  return wait->barrier->phase != wait->parity;
}

void NamedBarrier(int barrier, int threads, bool wait, const char* name, Site site) {
  Block& block = CurrentBlock();
  if (barrier < 1 || barrier >= kNumBarriers || threads <= 0 || threads % kLanes != 0 ||
      threads > block.num_threads())
    block.Fail(std::string(name) + ": barrier " + std::to_string(barrier) + " of " + std::to_string(threads),
               site);
  block.Arrive(barrier, threads, wait, false, name, site);
}

}  // namespace

void TmaLoads::Finish(size_t index) {
  const TmaCopy copy = loads_[index];
  loads_.erase(loads_.begin() + static_cast<ptrdiff_t>(index));
  SharedMemory& shared = CurrentBlock().shared();
  auto* tile = static_cast<unsigned char*>(shared.At(copy.tile));
  auto* async_tile = shared.async_view() + copy.tile;
  ForPieces(copy, [&](uint32_t offset, const bf16* global) {
    const bf16 value = global != nullptr ? *global : bf16{0};
    std::memcpy(tile + offset, &value, sizeof(value));
    std::memcpy(async_tile + offset, &value, sizeof(value));
  });
  if (CurrentBlock().race() != nullptr)
    CurrentBlock().race()->MarkWritten(tile, static_cast<size_t>(copy.map.box_rows) * kTileRowBytes);
  copy.barrier->bytes -= copy.map.box_rows * kTileRowBytes;
  CompletePhaseIfDone(copy.barrier);
}

void TmaStores::Wait(int pending) {
  const unsigned char* view = CurrentBlock().shared().PublishedView();
  size_t done = 0;
  for (; done < stores_.size() && stores_[done].group < open_group_ - pending; ++done) {
    const TmaCopy& copy = stores_[done];
    ForPieces(copy, [&](uint32_t offset, const bf16* global) {
      if (global != nullptr) std::memcpy(const_cast<bf16*>(global), view + copy.tile + offset, sizeof(bf16));
    });
  }
  stores_.erase(stores_.begin(), stores_.begin() + static_cast<ptrdiff_t>(done));
}

void TmaStores::Clear() {
  stores_.clear();
  open_group_ = 0;
}

void WaitForTmaStores(int pending) {
  CurrentBlock().current().stores.Wait(pending);
}

}  // namespace emulator

void MbarrierInit(Mbarrier* barrier, int arrivals, emulator::Site site) {
  emulator::Block& block = emulator::CurrentBlock();
  if (!block.shared().Contains(barrier, sizeof(Mbarrier)) || arrivals < 1 || arrivals >= 1 << 14)
    block.Fail("MbarrierInit: not in shared memory, or of too many arrivals", site);
  *barrier = {0, static_cast<uint16_t>(arrivals), static_cast<uint16_t>(arrivals), 0, 0};
}

void MbarrierArrive(Mbarrier* barrier, emulator::Site site) {
  emulator::Arrive(barrier, "MbarrierArrive", site);
}

void MbarrierArriveExpect(Mbarrier* barrier, int bytes, emulator::Site site) {
  emulator::CheckBarrier(barrier, "MbarrierArriveExpect", site);
  barrier->bytes += bytes;
  emulator::Arrive(barrier, "MbarrierArriveExpect", site);
}

void MbarrierWait(Mbarrier* barrier, int parity, emulator::Site site) {
  emulator::CheckBarrier(barrier, "MbarrierWait", site);
  emulator::PhaseWait wait = {barrier, parity};
  if (!emulator::PhaseIsDone(&wait))
    emulator::CurrentBlock().Poll(&emulator::PhaseIsDone, &wait, "MbarrierWait", site);
  emulator::Block& block = emulator::CurrentBlock();
  if (block.race() != nullptr) block.race()->Acquire(barrier, block.current().rank);
}

void FenceAsync() {
  emulator::CurrentBlock().shared().FenceAsync();
}

TensorMap MakeTensorMap(const bf16* data, int64_t rows, int64_t columns, int64_t row_stride, int box_rows) {
  if (reinterpret_cast<uintptr_t>(data) % emulator::kPieceBytes != 0 || row_stride % kVectorSize<bf16> != 0 ||
      rows <= 0 || columns <= 0 || box_rows <= 0 || box_rows > 256)
    emulator::ReportFailure("MakeTensorMap: what TMA cannot address");
  return {data, rows, columns, row_stride, box_rows, {}};
}

void TmaLoad(void* tile, const TensorMap& map, int row, int column, Mbarrier* barrier, emulator::Site site) {
  emulator::Block& block = emulator::CurrentBlock();
  emulator::CheckTile("TmaLoad", tile, map, site);
  emulator::CheckBarrier(barrier, "TmaLoad", site);
  const size_t bytes = static_cast<size_t>(map.box_rows) * kTileRowBytes;
  const SharedAddress address = block.shared().AddressOf(tile);
  const emulator::TmaCopy copy = {map, row, column, address, barrier, 0};
  emulator::ForPieces(copy, [&](uint32_t, const bf16* global) {
    if (global != nullptr && emulator::IsPoisoned(global, sizeof(bf16)))
      block.Fail("TmaLoad: reads global memory that is not allocated", site);
  });
  std::memset(tile, 0xff, bytes);
  std::memset(block.shared().async_view() + address, 0xff, bytes);
  block.loads().Start(copy);
}

void TmaStore(const TensorMap& map, int row, int column, const void* tile, emulator::Site site) {
  emulator::Block& block = emulator::CurrentBlock();
  emulator::CheckTile("TmaStore", tile, map, site);
  const emulator::TmaCopy copy = {map, row, column, block.shared().AddressOf(tile), nullptr, 0};
  emulator::ForPieces(copy, [&](uint32_t, const bf16* global) {
    if (global != nullptr && emulator::IsPoisoned(global, sizeof(bf16)))
      block.Fail("TmaStore: writes global memory that is not allocated", site);
  });
  block.current().stores.Start(copy);
}
void TmaStoreCommit() {
  emulator::CurrentBlock().current().stores.Commit();
}

void NamedBarrierSync(int barrier, int threads, emulator::Site site) {
  emulator::NamedBarrier(barrier, threads, true, "NamedBarrierSync", site);
}
void NamedBarrierArrive(int barrier, int threads, emulator::Site site) {
  emulator::NamedBarrier(barrier, threads, false, "NamedBarrierArrive", site);
}

}  // namespace trireme
