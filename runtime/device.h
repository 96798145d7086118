// Where programs run: memory, streams, events and kernels. The executor speaks to this interface alone, so a
// backend is one implementation of it and a table of kernels.
#ifndef TRIREME_RUNTIME_DEVICE_H_
#define TRIREME_RUNTIME_DEVICE_H_

#include <array>
#include <cstdint>

#include "runtime/clock.h"
#include "runtime/kernel.h"

namespace trireme {

// An in-order queue of work on a device. Stream 0 is the compute stream. On the CPU work is done as it is
// enqueued.
using StreamId = int;
// A point in a stream that another stream or the host can wait for.
using EventId = int64_t;
// A moment in the work of a stream, for timelines: Device::MarkTime.
using TimeMark = int64_t;
// Work that was captured to be enqueued again as a whole: Device::EndCapture.
using GraphId = int64_t;

class Device {
 public:
  virtual ~Device() = default;

  // Memory of the device, 64-byte aligned, zeroed; freed with the device. Counted, so that a test can show
  // that the hot path allocates nothing. Aborts, naming the size, where there is none: the plan was printed
  // before.
  virtual void* Allocate(int64_t bytes) = 0;
  // Memory of the host that copies to and from the device reach without blocking, 64-byte aligned, zeroed;
  // freed with the device. Counted with the rest.
  virtual void* AllocateHost(int64_t bytes) = 0;
  virtual int64_t num_allocations() const = 0;
  // Whether the host may read and write the device's memory itself.
  virtual bool is_host() const = 0;

  virtual StreamId NewStream() = 0;
  // An event behind all work enqueued on `stream` so far.
  virtual EventId Record(StreamId stream) = 0;
  // Work enqueued on `stream` from now on starts after `event`.
  virtual void StreamWait(StreamId stream, EventId event) = 0;
  // Whether the work that `event` is behind is done.
  virtual bool Done(EventId event) const = 0;
  // Blocks the host until all work on `stream` is done.
  virtual void Synchronize(StreamId stream) = 0;
  // Timing, for timelines only. StartTiming waits for the device and forgets the marks taken before. A mark
  // is the moment when the work enqueued on `stream` so far is done, and what that moment was on the host's
  // clock (NowSeconds) can be asked once it has passed. Where work is done as it is enqueued, it is now.
  virtual void StartTiming() {}
  virtual TimeMark MarkTime(StreamId) { return static_cast<TimeMark>(NowSeconds() * 1e9); }
  virtual double SecondsAt(TimeMark mark) const { return static_cast<double>(mark) * 1e-9; }

  // A name, for the backend's profiler, of what the host enqueues until EndRange; ranges nest. Without effect
  // where has_ranges() is false.
  virtual bool has_ranges() const { return false; }
  virtual void BeginRange(const char*) {}
  virtual void EndRange() {}

  // Where has_graphs(): from BeginCapture to EndCapture what is enqueued on the compute stream is kept
  // instead of done, with every argument as it was then, and Replay enqueues all of it with one call. In
  // between nothing may be allocated, waited for or enqueued on another stream. Graphs are freed with the
  // device.
  virtual bool has_graphs() const { return false; }
  virtual void BeginCapture();
  virtual GraphId EndCapture();
  virtual void Replay(GraphId graph);

  // What the backend's libraries know the stream by (cudaStream_t); nullptr on the host.
  virtual void* native(StreamId stream) const = 0;

  // Enqueue a copy between host and device memory, or within the device. What CopyToDevice reads may be
  // overwritten as soon as it returns; what CopyToHost writes is there after Synchronize, and has to come
  // from AllocateHost if the host is not to wait in the call.
  virtual void CopyToDevice(void* device, const void* host, int64_t bytes, StreamId stream) = 0;
  virtual void CopyToHost(void* host, const void* device, int64_t bytes, StreamId stream) = 0;
  // As CopyToDevice, from memory of AllocateHost that stays as it is until `stream` has done the copy: the
  // host neither waits nor copies it aside first.
  virtual void SendToDevice(void* device, const void* host, int64_t bytes, StreamId stream) {
    CopyToDevice(device, host, bytes, stream);
  }
  virtual void CopyWithin(void* to, const void* from, int64_t bytes, StreamId stream) = 0;

  // The kernel of an op on this device; aborts for an op that it lacks.
  virtual const KernelEntry& kernel(OpKind kind) const = 0;
  virtual void Launch(Kernel kernel, const KernelArguments& arguments, StreamId stream) = 0;
  // Threads that a kernel may use on the host.
  virtual int num_threads() const = 0;
  // "cpu (AVX-512, 2 threads)".
  virtual const char* description() const = 0;
  // Which piece of hardware it is: equal, of two devices that are not the host, if they are one GPU.
  virtual std::array<uint8_t, 16> hardware_id() const { return {}; }
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_DEVICE_H_
