// The shared memory of a block: one arena, in which a "shared address" is an offset. The dynamic part starts
// at 0, each declared array follows at its first use with a gap behind it. At the start of a block everything
// reads as NaN; writes into a gap are found at its end, at once under AddressSanitizer.
#ifndef TRIREME_TESTS_EMULATOR_SHARED_MEMORY_H_
#define TRIREME_TESTS_EMULATOR_SHARED_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace trireme::emulator {

class SharedMemory {
 public:
  // Of an H100 or H200: what a block may have, and what it may declare statically.
  static constexpr size_t kMaxBytes = 227 * 1024;
  static constexpr size_t kMaxStaticBytes = 48 * 1024;
  // Room for the gaps too.
  static constexpr size_t kArenaBytes = 512 * 1024;

  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  void StartLaunch(size_t dynamic_bytes);
  void StartBlock();
  // The name of an array behind which was written, or "".
  std::string Overrun() const;
  void EndLaunch();

  // Places a declared array for this launch. nullptr: the block would have too much.
  void* Place(const char* name, size_t bytes);
  void* dynamic() { return base_; }

  bool Contains(const void* pointer, size_t bytes) const;
  // In which array, "name + bytes", or "" if in none.
  std::string Locate(const void* pointer) const;
  uint32_t AddressOf(const void* pointer) const {
    return static_cast<uint32_t>(static_cast<const unsigned char*>(pointer) - base_);
  }
  void* At(uint32_t address) { return base_ + address; }
  unsigned char* base() const { return base_; }
  size_t bytes_used() const { return end_; }

  // What TMA and wgmma see: what they wrote themselves at once, what threads wrote only after a FenceAsync.
  unsigned char* async_view();
  void FenceAsync() { fenced_ = true; }
  // The view after everything that a fence has allowed.
  const unsigned char* PublishedView();

 private:
  struct Array {
    const char* name;
    size_t offset;
    size_t bytes;
  };
  void Append(const char* name, size_t bytes);
  void Destroy(const Array& array);

  unsigned char* base_;
  unsigned char* async_view_ = nullptr;  // made when first asked for
  bool fenced_ = false;
  std::vector<Array> arrays_;
  size_t end_ = 0;
  size_t static_bytes_ = 0;
};

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_SHARED_MEMORY_H_
