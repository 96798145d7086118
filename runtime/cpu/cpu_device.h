// The host as a Device: streams are immediate, memory is the process's own.
#ifndef TRIREME_RUNTIME_CPU_CPU_DEVICE_H_
#define TRIREME_RUNTIME_CPU_CPU_DEVICE_H_

#include <string>
#include <vector>

#include "runtime/device.h"

namespace trireme {

enum class KernelChoice : uint8_t { kFast, kPlain };

// Holds nothing that is shared: ranks that are threads of one process have a device each. One thread at a
// time may call a device.
class CpuDevice : public Device {
 public:
  explicit CpuDevice(int num_threads, KernelChoice choice = KernelChoice::kFast);
  ~CpuDevice() override;
  CpuDevice(const CpuDevice&) = delete;
  CpuDevice& operator=(const CpuDevice&) = delete;

  // Pages are touched by whoever writes first; blocks of 2 MiB and more ask for huge pages.
  void* Allocate(int64_t bytes) override;
  void* AllocateHost(int64_t bytes) override { return Allocate(bytes); }
  bool is_host() const override { return true; }
  int64_t num_allocations() const override { return static_cast<int64_t>(blocks_.size()); }

  StreamId NewStream() override { return ++last_stream_; }
  EventId Record(StreamId) override { return ++last_event_; }
  void StreamWait(StreamId, EventId) override {}
  bool Done(EventId) const override { return true; }
  void Synchronize(StreamId) override {}
  void* native(StreamId) const override { return nullptr; }

  void CopyToDevice(void* device, const void* host, int64_t bytes, StreamId stream) override;
  void CopyToHost(void* host, const void* device, int64_t bytes, StreamId stream) override;
  void CopyWithin(void* to, const void* from, int64_t bytes, StreamId stream) override;

  const KernelEntry& kernel(OpKind kind) const override;
  void Launch(Kernel kernel, const KernelArguments& arguments, StreamId stream) override;
  int num_threads() const override { return num_threads_; }
  const char* description() const override { return description_.c_str(); }

 private:
  struct Block {
    void* address;
    int64_t bytes;
  };

  const int num_threads_;
  const KernelChoice choice_;
  const std::string description_;
  std::vector<Block> blocks_;
  StreamId last_stream_ = 0;
  EventId last_event_ = 0;
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_CPU_DEVICE_H_
