// Buffers that collectives need for as long as they are under way, kept for the next ones.
#ifndef TRIREME_PARALLEL_STAGING_POOL_H_
#define TRIREME_PARALLEL_STAGING_POOL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace trireme {

// Sizes are rounded up to powers of two and a buffer serves its own size only. So the bytes held depend on
// how many of each size were ever in use at once, and a step that repeats an earlier one allocates nothing.
// Not thread-safe.
class StagingPool {
 public:
  // Gives its memory back to the pool when it is destroyed; the pool must outlive it.
  class Buffer {
   public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          bytes_(other.bytes_),
          memory_(std::move(other.memory_)) {}
    Buffer& operator=(Buffer&&) = delete;
    ~Buffer() {
      if (pool_ != nullptr) pool_->free_[bytes_].push_back(std::move(memory_));
    }
    char* data() const { return memory_.get(); }

   private:
    friend class StagingPool;
    Buffer(StagingPool* pool, int64_t bytes, std::unique_ptr<char[]> memory)
        : pool_(pool), bytes_(bytes), memory_(std::move(memory)) {}

    StagingPool* pool_ = nullptr;
    int64_t bytes_ = 0;
    std::unique_ptr<char[]> memory_;
  };

  // At least `bytes` bytes, aligned for every dtype, of unknown content.
  Buffer Take(int64_t bytes);

  // Bytes allocated, in use or not; never falls.
  int64_t bytes_held() const { return bytes_held_; }

 private:
  std::map<int64_t, std::vector<std::unique_ptr<char[]>>> free_;
  int64_t bytes_held_ = 0;
};

}  // namespace trireme

#endif  // TRIREME_PARALLEL_STAGING_POOL_H_
