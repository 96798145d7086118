// Fragment layouts: PTX ISA, "Warp-level matrix instructions": ldmatrix, and mma.m16n8k16 with .bf16.
#include "tests/emulator/matrix.h"

#include <cstring>

#include "tests/emulator/address_sanitizer.h"
#include "tests/emulator/block.h"

namespace trireme {
namespace emulator {
namespace {

constexpr int kRowBytes = 16;  // of an 8x8 matrix of 16-bit elements
constexpr int kAddressRow = 4;

float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Reads matrix m of the four whose row addresses the lanes gave.
void ReadMatrix(const WarpExchange& exchange, int m, uint16_t (&elements)[8][8]) {
  SharedMemory& shared = CurrentBlock().shared();
  for (int row = 0; row < 8; ++row)
    std::memcpy(elements[row], shared.At(exchange.words[kAddressRow][m * 8 + row]), kRowBytes);
}

template <bool kTranspose>
void CompleteLdMatrix(WarpExchange& exchange, uint32_t) {
  for (int m = 0; m < 4; ++m) {
    uint16_t elements[8][8];
    ReadMatrix(exchange, m, elements);
    for (int lane = 0; lane < kLanes; ++lane) {
      const int row = lane / 4;
      const int column = lane % 4 * 2;
      const uint32_t low = kTranspose ? elements[column][row] : elements[row][column];
      const uint32_t high = kTranspose ? elements[column + 1][row] : elements[row][column + 1];
      exchange.words[m][lane] = low | high << 16;
    }
  }
}

// Rows of words: a in 0 to 3, b in 4 and 5, c in 6 to 9.
void CompleteMma(WarpExchange& exchange, uint32_t) {
  float a[16][16];  // [k][row]
  float b[16][8];   // [k][column]
  for (int lane = 0; lane < kLanes; ++lane) {
    const int group = lane / 4;
    const int pair = lane % 4 * 2;
    for (int i = 0; i < 4; ++i) {
      const uint32_t word = exchange.words[i][lane];
      const int row = group + i % 2 * 8;
      const int k = pair + i / 2 * 8;
      a[k][row] = FromBits(word << 16);
      a[k + 1][row] = FromBits(word & 0xffff0000u);
    }
    for (int i = 0; i < 2; ++i) {
      const uint32_t word = exchange.words[4 + i][lane];
      b[pair + i * 8][group] = FromBits(word << 16);
      b[pair + i * 8 + 1][group] = FromBits(word & 0xffff0000u);
    }
  }
  float c[16][8];
  for (int lane = 0; lane < kLanes; ++lane)
    for (int i = 0; i < 4; ++i)
      c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = FromBits(exchange.words[6 + i][lane]);
  for (int k = 0; k < 16; ++k)
    for (int row = 0; row < 16; ++row)
      for (int column = 0; column < 8; ++column) c[row][column] += a[k][row] * b[k][column];
  for (int lane = 0; lane < kLanes; ++lane)
    for (int i = 0; i < 4; ++i)
      std::memcpy(&exchange.words[6 + i][lane], &c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2], 4);
}

const WarpOp kLdMatrix = {"LdMatrix", CompleteLdMatrix<false>};
const WarpOp kLdMatrixTrans = {"LdMatrixTrans", CompleteLdMatrix<true>};
const WarpOp kMma = {"MmaBf16", CompleteMma};

void Load(const WarpOp& op, uint32_t (&registers)[4], SharedAddress row, Site site) {
  Block& block = CurrentBlock();
  if (row % kRowBytes != 0)
    block.Fail(std::string(op.name) + ": a row at " + std::to_string(row) + ", not a multiple of 16", site);
  if (!block.shared().Contains(block.shared().At(row), kRowBytes))
    block.Fail(std::string(op.name) + ": a row outside every shared array", site);
  block.CheckRace(block.shared().At(row), kRowBytes, Access::kWarpRead, site);
  const int lane = block.current().lane();
  WarpExchange& exchange = block.warp_of(block.current()).exchange;
  exchange.words[kAddressRow][lane] = row;
  block.Collect(op, ~0u, site);
  for (int m = 0; m < 4; ++m) registers[m] = exchange.words[m][lane];
}

}  // namespace

void WaitForCopies(int pending) {
  Block& block = CurrentBlock();
  block.current().copies.Wait(pending, [&](const CopyQueue::Copy& copy) {
    block.CheckRace(copy.shared, kCopyBytes, Access::kWrite, copy.site);
    if (copy.global == nullptr) {
      std::memset(copy.shared, 0, kCopyBytes);
    } else {
      std::memcpy(copy.shared, copy.global, kCopyBytes);
    }
  });
}

}  // namespace emulator

SharedAddress SharedAddressOf(const void* shared, emulator::Site site) {
  emulator::Block& block = emulator::CurrentBlock();
  const auto* at = static_cast<const unsigned char*>(shared);
  // One past an array's end is an address that a kernel may compute.
  if (at < block.shared().base() || at > block.shared().base() + block.shared().bytes_used())
    block.Fail("the address of something that is not in shared memory", site);
  return block.shared().AddressOf(shared);
}

void CpAsync16(SharedAddress shared, const void* global, bool valid, emulator::Site site) {
  using emulator::kCopyBytes;
  emulator::Block& block = emulator::CurrentBlock();
  void* target = block.shared().At(shared);
  if (shared % kCopyBytes != 0 || reinterpret_cast<uintptr_t>(global) % kCopyBytes != 0)
    block.Fail("CpAsync16: an address that is not a multiple of 16", site);
  if (!block.shared().Contains(target, kCopyBytes)) block.Fail("CpAsync16: outside every shared array", site);
  if (valid && emulator::IsPoisoned(global, kCopyBytes))
    block.Fail("CpAsync16: reads global memory that is not allocated", site);
  block.CheckRace(target, kCopyBytes, emulator::Access::kWrite, site);
  if (valid) block.CheckRace(global, kCopyBytes, emulator::Access::kRead, site);
  std::memset(target, 0xff, kCopyBytes);
  block.current().copies.Issue({target, valid ? global : nullptr, site});
}

void CpAsyncCommit() {
  emulator::CurrentBlock().current().copies.Commit();
}

void LdMatrix(uint32_t (&registers)[4], SharedAddress row, emulator::Site site) {
  emulator::Load(emulator::kLdMatrix, registers, row, site);
}
void LdMatrixTrans(uint32_t (&registers)[4], SharedAddress row, emulator::Site site) {
  emulator::Load(emulator::kLdMatrixTrans, registers, row, site);
}

void MmaBf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, emulator::Site site) {
  emulator::Block& block = emulator::CurrentBlock();
  const int lane = block.current().lane();
  auto& words = block.warp_of(block.current()).exchange.words;
  for (int i = 0; i < 4; ++i) words[i][lane] = a[i];
  words[4][lane] = b0;
  words[5][lane] = b1;
  for (int i = 0; i < 4; ++i) std::memcpy(&words[6 + i][lane], &c[i], sizeof(float));
  block.Collect(emulator::kMma, ~0u, site);
  for (int i = 0; i < 4; ++i) std::memcpy(&c[i], &words[6 + i][lane], sizeof(float));
}

}  // namespace trireme
