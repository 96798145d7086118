// Descriptors and fragments: PTX ISA, "Asynchronous warpgroup level matrix instructions".
#include "tests/emulator/wgmma.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "runtime/cuda/hopper.h"
#include "tests/emulator/block.h"

namespace trireme {
namespace emulator {
namespace {

constexpr int kRows = 64;
constexpr int kDepth = 16;
constexpr int kMaxColumns = 256;

// A decoded descriptor: where element (i, k) lies, i a row of a or a column of b.
class Operand {
 public:
  Operand(uint64_t descriptor, bool across_k, const unsigned char* view, Site site)
      : start_((descriptor & 0x3fff) << 4),
        leading_((descriptor >> 16 & 0x3fff) << 4),
        stride_((descriptor >> 32 & 0x3fff) << 4),
        across_k_(across_k),
        view_(view) {
    const uint64_t swizzle = descriptor >> 62;
    const uint64_t base_offset = descriptor >> 49 & 7;
    if (swizzle != 1 || base_offset != 0)
      CurrentBlock().Fail("Wgmma: a descriptor that is not of a tile with 128-byte swizzle", site);
  }

  float At(uint32_t i, uint32_t k) const {
    const uint32_t offset = across_k_
                                ? i / 64 * leading_ + i % 64 * 2 + k / 8 * stride_ + k % 8 * kTileRowBytes
                                : i / 8 * stride_ + i % 8 * kTileRowBytes + k * 2;
    uint16_t bits;
    std::memcpy(&bits, view_ + Swizzle(start_ + offset), sizeof(bits));
    return ToFloat(bf16{bits});
  }

  // Whether all of it lies in shared arrays.
  bool IsInside(int size) const {
    const uint32_t last_i = static_cast<uint32_t>(size) - 1;
    const uint32_t end = across_k_ ? last_i / 64 * leading_ + stride_ + 8 * kTileRowBytes
                                   : last_i / 8 * stride_ + 7 * kTileRowBytes + kDepth * 2;
    SharedMemory& shared = CurrentBlock().shared();
    return shared.Contains(shared.At(start_), end);
  }

 private:
  uint32_t start_;
  uint32_t leading_;
  uint32_t stride_;
  bool across_k_;
  const unsigned char* view_;
};

// a and b of one operation as floats, k outermost in b so that the sums run along its rows.
struct Factors {
  float a[kRows][kDepth];
  float b[kDepth][kMaxColumns];
};

void ReadARegisters(Factors& factors, const Thread* group, int index) {
  for (int thread = 0; thread < kWarpgroupThreads; ++thread) {
    const auto& words = group[thread].wgmma.operation(index).a_registers;
    const int lane = thread % kLanes;
    for (int i = 0; i < 4; ++i) {
      const int row = thread / kLanes * 16 + lane / 4 + i % 2 * 8;
      const int k = lane % 4 * 2 + i / 2 * 8;
      factors.a[row][k] = ToFloat(bf16{static_cast<uint16_t>(words[i])});
      factors.a[row][k + 1] = ToFloat(bf16{static_cast<uint16_t>(words[i] >> 16)});
    }
  }
}

void ReadFactors(Factors& factors, const Thread* group, int index, int columns, Site site) {
  const WgmmaRequest& request = group[0].wgmma.operation(index).request;
  const unsigned char* view = CurrentBlock().shared().PublishedView();
  const Operand b(request.b, request.b_across_k, view, site);
  if (!b.IsInside(columns)) CurrentBlock().Fail("Wgmma: b outside every shared array", site);
  for (int k = 0; k < kDepth; ++k)
    for (int column = 0; column < columns; ++column) factors.b[k][column] = b.At(column, k);
  if (request.a_registers != nullptr) {
    ReadARegisters(factors, group, index);
    return;
  }
  const Operand a(request.a, request.a_across_k, view, site);
  if (!a.IsInside(kRows)) CurrentBlock().Fail("Wgmma: a outside every shared array", site);
  for (int row = 0; row < kRows; ++row)
    for (int k = 0; k < kDepth; ++k) factors.a[row][k] = a.At(row, k);
}

// Calls f(row, column, index in d) for the sums of a thread of the warpgroup.
template <typename F>
void ForSums(int thread, int size, F f) {
  const int lane = thread % kLanes;
  for (int i = 0; i < size; ++i)
    f(thread / kLanes * 16 + lane / 4 + i / 2 % 2 * 8, i / 4 * 8 + lane % 4 * 2 + i % 2, i);
}

void Multiply(Thread* group, int index, Site site) {
  static thread_local Factors factors;
  static thread_local float sums[kRows][kMaxColumns];
  const WgmmaRequest request = group[0].wgmma.operation(index).request;
  const int columns = 2 * request.size;
  ReadFactors(factors, group, index, columns, site);
  for (int thread = 0; thread < kWarpgroupThreads; ++thread) {
    const auto& values = group[thread].wgmma.sums_of(group[thread].wgmma.operation(index)).values;
    ForSums(thread, request.size,
            [&](int row, int column, int i) { sums[row][column] = request.accumulate ? values[i] : 0.0f; });
  }
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < kDepth; ++k) {
      const float factor = factors.a[row][k];
      for (int column = 0; column < columns; ++column) sums[row][column] += factor * factors.b[k][column];
    }
  }
  for (int thread = 0; thread < kWarpgroupThreads; ++thread) {
    auto& values = group[thread].wgmma.sums_of(group[thread].wgmma.operation(index)).values;
    ForSums(thread, request.size, [&](int row, int column, int i) { values[i] = sums[row][column]; });
  }
}

void CheckAgreement(const Thread* group, int index, Site site) {
  const WgmmaRequest& first = group[0].wgmma.operation(index).request;
  for (int thread = 1; thread < kWarpgroupThreads; ++thread) {
    const WgmmaRequest& other = group[thread].wgmma.operation(index).request;
    if (other.size != first.size || other.a != first.a || other.b != first.b ||
        other.accumulate != first.accumulate ||
        (other.a_registers == nullptr) != (first.a_registers == nullptr))
      CurrentBlock().Fail("Wgmma: the threads of the warpgroup do not ask for the same product", site);
  }
}

// What the last thread of a warpgroup to arrive at WgmmaWait does for all.
void CompleteWait(Thread* group, int pending, Site site) {
  const int due = group[0].wgmma.NumDue(pending);
  for (int thread = 1; thread < kWarpgroupThreads; ++thread)
    if (group[thread].wgmma.NumDue(pending) != due)
      CurrentBlock().Fail("WgmmaWait: the threads of the warpgroup started different numbers of products",
                          site);
  for (int i = 0; i < due; ++i) {
    CheckAgreement(group, 0, site);
    Multiply(group, 0, site);
    for (int thread = 0; thread < kWarpgroupThreads; ++thread) group[thread].wgmma.Finish();
  }
  for (int thread = 0; thread < kWarpgroupThreads; ++thread) group[thread].wgmma.EndWait();
}

}  // namespace

void WgmmaQueue::Start(const WgmmaRequest& request) {
  Operation operation = {request, {}, open_group_};
  if (request.a_registers != nullptr) std::copy_n(request.a_registers, 4, operation.a_registers.begin());
  auto sums =
      std::find_if(sums_.begin(), sums_.end(), [&](const Sums& s) { return s.registers == request.d; });
  if (sums == sums_.end()) {
    sums = sums_.insert(sums_.end(), {request.d, request.size, 0, {}});
    std::copy_n(request.d, request.size, sums->values.begin());
    std::fill_n(request.d, request.size, std::numeric_limits<float>::quiet_NaN());
  }
  ++sums->operations;
  operations_.push_back(operation);
}

WgmmaQueue::Sums& WgmmaQueue::sums_of(const Operation& operation) {
  return *std::find_if(sums_.begin(), sums_.end(),
                       [&](const Sums& s) { return s.registers == operation.request.d; });
}

int WgmmaQueue::NumDue(int pending) const {
  int due = 0;
  while (due < static_cast<int>(operations_.size()) && operations_[due].group < open_group_ - pending) ++due;
  return due;
}

void WgmmaQueue::Finish() {
  Sums& sums = sums_of(operations_.front());
  if (--sums.operations == 0) {
    std::copy_n(sums.values.begin(), sums.size, sums.registers);
    sums_.erase(sums_.begin() + (&sums - &sums_.front()));
  }
  operations_.pop_front();
}

void WgmmaQueue::Clear() {
  operations_.clear();
  sums_.clear();
  open_group_ = 0;
  fenced_ = false;
}

void StartWgmma(const WgmmaRequest& request, Site site) {
  Block& block = CurrentBlock();
  if (!block.current().wgmma.fenced()) block.Fail("Wgmma: no WgmmaFence since the last wait", site);
  if (block.num_threads() % kWarpgroupThreads != 0)
    block.Fail("Wgmma: the block is not made of whole warpgroups", site);
  block.current().wgmma.Start(request);
}

void WaitForWgmma(int pending, Site site) {
  CurrentBlock().MeetWarpgroup(
      "WgmmaWait", site,
      [](Thread* group, int argument, Site where) { CompleteWait(group, argument, where); }, pending);
}

}  // namespace emulator

void WgmmaFence(emulator::Site) {
  emulator::CurrentBlock().current().wgmma.Fence();
}
void WgmmaCommit() {
  emulator::CurrentBlock().current().wgmma.Commit();
}

}  // namespace trireme
