#include "parallel/staging_pool.h"

#include <glog/logging.h>

#include <algorithm>
#include <bit>

namespace trireme {

StagingPool::Buffer StagingPool::Take(int64_t bytes) {
  CHECK_GE(bytes, 0);
  const int64_t size = std::max<int64_t>(4096, std::bit_ceil(static_cast<uint64_t>(bytes)));
  std::vector<std::unique_ptr<char[]>>& free = free_[size];
  if (free.empty()) {
    free.push_back(std::make_unique_for_overwrite<char[]>(size));
    bytes_held_ += size;
  }
  std::unique_ptr<char[]> memory = std::move(free.back());
  free.pop_back();
  return Buffer(this, size, std::move(memory));
}

}  // namespace trireme
