#include "tests/emulator/async_copy.h"

#include <cstring>

namespace trireme::emulator {

void CopyQueue::Wait(int pending) {
  for (; first_ < copies_.size() && copies_[first_].group < open_group_ - pending; ++first_) {
    const Copy& copy = copies_[first_];
    if (copy.global == nullptr) {
      std::memset(copy.shared, 0, kCopyBytes);
    } else {
      std::memcpy(copy.shared, copy.global, kCopyBytes);
    }
  }
  if (first_ == copies_.size()) {
    copies_.clear();
    first_ = 0;
  }
}

void CopyQueue::Clear() {
  copies_.clear();
  first_ = 0;
  open_group_ = 0;
}

}  // namespace trireme::emulator
