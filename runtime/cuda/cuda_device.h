// One GPU as a Device: memory, streams and events of the CUDA runtime.
#ifndef TRIREME_RUNTIME_CUDA_CUDA_DEVICE_H_
#define TRIREME_RUNTIME_CUDA_CUDA_DEVICE_H_

#include <string>
#include <vector>

#include "runtime/device.h"

namespace trireme {

// Belongs to one thread, whose current CUDA device it sets when it is made. Failures of the CUDA runtime end
// the process, naming the call: there is no state from which a step could go on.
class CudaDevice : public Device {
 public:
  // `ordinal`: of the GPU, counted as CUDA counts them. There must be one (backend.h asks first).
  explicit CudaDevice(int ordinal);
  ~CudaDevice() override;
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  void* Allocate(int64_t bytes) override;
  void* AllocateHost(int64_t bytes) override;
  int64_t num_allocations() const override {
    return static_cast<int64_t>(device_blocks_.size() + host_blocks_.size());
  }
  bool is_host() const override { return false; }

  StreamId NewStream() override;
  // Of the last kNumEvents events only: a plan has fewer under way.
  EventId Record(StreamId stream) override;
  void StreamWait(StreamId stream, EventId event) override;
  bool Done(EventId event) const override;
  void Synchronize(StreamId stream) override;
  void StartTiming() override;
  TimeMark MarkTime(StreamId stream) override;
  double SecondsAt(TimeMark mark) const override;
  void* native(StreamId stream) const override { return streams_[stream]; }

  bool has_ranges() const override;
  void BeginRange(const char* name) override;
  void EndRange() override;

  bool has_graphs() const override { return true; }
  void BeginCapture() override;
  GraphId EndCapture() override;
  void Replay(GraphId graph) override;

  void CopyToDevice(void* device, const void* host, int64_t bytes, StreamId stream) override;
  void SendToDevice(void* device, const void* host, int64_t bytes, StreamId stream) override;
  void CopyToHost(void* host, const void* device, int64_t bytes, StreamId stream) override;
  void CopyWithin(void* to, const void* from, int64_t bytes, StreamId stream) override;

  const KernelEntry& kernel(OpKind kind) const override;
  void Launch(Kernel kernel, const KernelArguments& arguments, StreamId stream) override;
  int num_threads() const override { return 1; }
  const char* description() const override { return description_.c_str(); }
  std::array<uint8_t, 16> hardware_id() const override { return hardware_id_; }

  static constexpr int kNumEvents = 4096;

 private:
  // A part of the pinned memory that small copies to the device go through, so that their source is free at
  // once and the host does not wait for the stream.
  struct Stage {
    char* memory = nullptr;
    void* done = nullptr;  // cudaEvent_t: the copy that last used it
  };
  static constexpr int kNumStages = 64;
  static constexpr int64_t kStageBytes = 256 << 10;

  std::string description_;
  std::array<uint8_t, 16> hardware_id_;  // the card's UUID
  std::vector<void*> streams_;           // cudaStream_t
  std::vector<void*> events_;            // cudaEvent_t, a ring
  EventId last_event_ = 0;
  // Events that carry a time, made when a timeline first asks for so many. The first is at base_seconds_.
  std::vector<void*> marks_;  // cudaEvent_t
  int64_t num_marks_ = 0;
  double base_seconds_ = 0;
  std::vector<void*> graphs_;  // cudaGraphExec_t
  std::vector<void*> device_blocks_;
  std::vector<void*> host_blocks_;
  std::vector<Stage> stages_;
  int64_t next_stage_ = 0;
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_CUDA_DEVICE_H_
