#include "tests/emulator/shared_memory.h"

#include <cstdlib>
#include <cstring>

#include "tests/emulator/address_sanitizer.h"

namespace trireme::emulator {
namespace {

constexpr size_t kGapBytes = 32;
constexpr unsigned char kUnwritten = 0xff;  // NaN as bf16, float and double

size_t RoundUp(size_t bytes, size_t to) {
  return (bytes + to - 1) / to * to;
}

}  // namespace

SharedMemory::SharedMemory() : base_(static_cast<unsigned char*>(std::aligned_alloc(1024, kArenaBytes))) {
  std::memset(base_, kUnwritten, kArenaBytes);
  PoisonMemory(base_, kArenaBytes);
}

SharedMemory::~SharedMemory() {
  UnpoisonMemory(base_, kArenaBytes);
  std::free(base_);
  std::free(async_view_);
}

unsigned char* SharedMemory::async_view() {
  if (async_view_ == nullptr) {
    async_view_ = static_cast<unsigned char*>(std::aligned_alloc(1024, kArenaBytes));
    std::memset(async_view_, kUnwritten, kArenaBytes);
  }
  return async_view_;
}

const unsigned char* SharedMemory::PublishedView() {
  unsigned char* view = async_view();
  if (!fenced_) return view;
  fenced_ = false;
  for (const Array& array : arrays_) std::memcpy(view + array.offset, base_ + array.offset, array.bytes);
  return view;
}

void SharedMemory::StartLaunch(size_t dynamic_bytes) {
  if (dynamic_bytes > 0) Append("dynamic shared memory", dynamic_bytes);
}

void SharedMemory::StartBlock() {
  for (const Array& array : arrays_) Destroy(array);
  fenced_ = false;
}

void SharedMemory::EndLaunch() {
  UnpoisonMemory(base_, end_);
  std::memset(base_, kUnwritten, end_);
  PoisonMemory(base_, end_);
  arrays_.clear();
  end_ = static_bytes_ = 0;
}

void* SharedMemory::Place(const char* name, size_t bytes) {
  static_bytes_ += bytes;
  if (static_bytes_ > kMaxStaticBytes || end_ + bytes > kMaxBytes) return nullptr;
  Append(name, bytes);
  return base_ + arrays_.back().offset;
}

void SharedMemory::Append(const char* name, size_t bytes) {
  const Array array = {name, end_, bytes};
  end_ = RoundUp(array.offset + bytes, 16) + kGapBytes;
  arrays_.push_back(array);
  UnpoisonMemory(base_ + array.offset, bytes);
  Destroy(array);
}

void SharedMemory::Destroy(const Array& array) {
  std::memset(base_ + array.offset, kUnwritten, array.bytes);
}

std::string SharedMemory::Overrun() const {
  if (kAddressSanitizer) return "";  // it has watched the gaps itself
  for (size_t i = 0; i < arrays_.size(); ++i) {
    const size_t gap_end = i + 1 < arrays_.size() ? arrays_[i + 1].offset : end_;
    for (size_t byte = arrays_[i].offset + arrays_[i].bytes; byte < gap_end; ++byte)
      if (base_[byte] != kUnwritten) return arrays_[i].name;
  }
  return "";
}

bool SharedMemory::Contains(const void* pointer, size_t bytes) const {
  const auto* at = static_cast<const unsigned char*>(pointer);
  for (const Array& array : arrays_)
    if (at >= base_ + array.offset && at + bytes <= base_ + array.offset + array.bytes) return true;
  return false;
}

std::string SharedMemory::Locate(const void* pointer) const {
  for (const Array& array : arrays_) {
    const auto offset = static_cast<const unsigned char*>(pointer) - (base_ + array.offset);
    if (offset >= 0 && offset < static_cast<ptrdiff_t>(array.bytes))
      return std::string(array.name) + " + " + std::to_string(offset);
  }
  return "";
}

}  // namespace trireme::emulator
