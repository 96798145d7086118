#include "runtime/cuda/cuda_device.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_format.h"
#include "runtime/clock.h"
#include "runtime/cuda/check.h"
#include "runtime/cuda/kernels.h"
#include "runtime/cuda/nvtx.h"
#include "runtime/op_table.h"

namespace trireme {
namespace {

cudaStream_t Stream(void* stream) {
  return static_cast<cudaStream_t>(stream);
}
cudaEvent_t Event(void* event) {
  return static_cast<cudaEvent_t>(event);
}
cudaGraphExec_t Graph(void* graph) {
  return static_cast<cudaGraphExec_t>(graph);
}

}  // namespace

CudaDevice::CudaDevice(int ordinal) {
  GPU_CHECK(cudaSetDevice(ordinal));
  cudaDeviceProp properties;
  GPU_CHECK(cudaGetDeviceProperties(&properties, ordinal));
  description_ =
      absl::StrFormat("cuda %d (%s, compute capability %d.%d, %d multiprocessors)", ordinal, properties.name,
                      properties.major, properties.minor, properties.multiProcessorCount);
  static_assert(sizeof(properties.uuid) == sizeof(hardware_id_));
  std::memcpy(hardware_id_.data(), &properties.uuid, sizeof(hardware_id_));
  NewStream();
  events_.resize(kNumEvents);
  for (void*& event : events_) {
    cudaEvent_t made;
    GPU_CHECK(cudaEventCreateWithFlags(&made, cudaEventDisableTiming));
    event = made;
  }
  stages_.resize(kNumStages);
  for (Stage& stage : stages_) {
    void* memory = nullptr;
    GPU_CHECK(cudaMallocHost(&memory, kStageBytes));
    stage.memory = static_cast<char*>(memory);
    cudaEvent_t done;
    GPU_CHECK(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
    stage.done = done;
  }
}

CudaDevice::~CudaDevice() {
  for (void* stream : streams_) {
    GPU_CHECK(cudaStreamSynchronize(Stream(stream)));
    GPU_CHECK(cudaStreamDestroy(Stream(stream)));
  }
  for (void* graph : graphs_) GPU_CHECK(cudaGraphExecDestroy(Graph(graph)));
  for (void* event : events_) GPU_CHECK(cudaEventDestroy(Event(event)));
  for (void* mark : marks_) GPU_CHECK(cudaEventDestroy(Event(mark)));
  for (const Stage& stage : stages_) {
    GPU_CHECK(cudaFreeHost(stage.memory));
    GPU_CHECK(cudaEventDestroy(Event(stage.done)));
  }
  for (void* block : device_blocks_) GPU_CHECK(cudaFree(block));
  for (void* block : host_blocks_) GPU_CHECK(cudaFreeHost(block));
}

void* CudaDevice::Allocate(int64_t bytes) {
  void* memory = nullptr;
  const size_t size = std::max<int64_t>(bytes, 1);
  const cudaError_t error = cudaMalloc(&memory, size);
  CHECK(error == cudaSuccess) << "the GPU has no memory for a block of " << bytes << " bytes ("
                              << cudaGetErrorString(error) << "); see the memory table above";
  GPU_CHECK(cudaMemset(memory, 0, size));
  GPU_CHECK(cudaStreamSynchronize(nullptr));  // our streams are not ordered behind the default one
  device_blocks_.push_back(memory);
  return memory;
}

void* CudaDevice::AllocateHost(int64_t bytes) {
  void* memory = nullptr;
  const size_t size = std::max<int64_t>(bytes, 1);
  GPU_CHECK(cudaMallocHost(&memory, size));
  std::memset(memory, 0, size);
  host_blocks_.push_back(memory);
  return memory;
}

StreamId CudaDevice::NewStream() {
  cudaStream_t stream;
  // Not ordered with the legacy default stream, which libraries may use.
  GPU_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  streams_.push_back(stream);
  return static_cast<StreamId>(streams_.size()) - 1;
}

EventId CudaDevice::Record(StreamId stream) {
  ++last_event_;
  GPU_CHECK(cudaEventRecord(Event(events_[last_event_ % kNumEvents]), Stream(streams_[stream])));
  return last_event_;
}

void CudaDevice::StreamWait(StreamId stream, EventId event) {
  CHECK_GT(event, last_event_ - kNumEvents) << "the event was recorded too long ago";
  GPU_CHECK(cudaStreamWaitEvent(Stream(streams_[stream]), Event(events_[event % kNumEvents]), 0));
}

bool CudaDevice::Done(EventId event) const {
  CHECK_GT(event, last_event_ - kNumEvents) << "the event was recorded too long ago";
  const cudaError_t status = cudaEventQuery(Event(events_[event % kNumEvents]));
  if (status == cudaErrorNotReady) return false;
  GPU_CHECK(status);
  return true;
}

void CudaDevice::Synchronize(StreamId stream) {
  GPU_CHECK(cudaStreamSynchronize(Stream(streams_[stream])));
}

void CudaDevice::StartTiming() {
  GPU_CHECK(cudaDeviceSynchronize());
  num_marks_ = 0;
  const double before = NowSeconds();
  MarkTime(0);
  Synchronize(0);
  base_seconds_ = (before + NowSeconds()) / 2;
}

TimeMark CudaDevice::MarkTime(StreamId stream) {
  if (num_marks_ == static_cast<int64_t>(marks_.size())) {
    cudaEvent_t made;
    GPU_CHECK(cudaEventCreate(&made));
    marks_.push_back(made);
  }
  GPU_CHECK(cudaEventRecord(Event(marks_[num_marks_]), Stream(streams_[stream])));
  return num_marks_++;
}

double CudaDevice::SecondsAt(TimeMark mark) const {
  float milliseconds = 0;
  GPU_CHECK(cudaEventElapsedTime(&milliseconds, Event(marks_[0]), Event(marks_[mark])));
  return base_seconds_ + milliseconds / 1e3;
}

bool CudaDevice::has_ranges() const {
  return kHasNvtx;
}

void CudaDevice::BeginRange(const char* name) {
  PushNvtxRange(name);
}

void CudaDevice::EndRange() {
  PopNvtxRange();
}

// Of this thread only: threads of NCCL's may allocate meanwhile.
void CudaDevice::BeginCapture() {
  GPU_CHECK(cudaStreamBeginCapture(Stream(streams_[0]), cudaStreamCaptureModeThreadLocal));
}

GraphId CudaDevice::EndCapture() {
  cudaGraph_t graph = nullptr;
  const cudaError_t captured = cudaStreamEndCapture(Stream(streams_[0]), &graph);
  CHECK(captured == cudaSuccess) << "a kernel's launcher does what no graph can hold ("
                                 << cudaGetErrorString(captured) << "); train.cuda_graphs=false goes without";
  cudaGraphExec_t ready = nullptr;
  GPU_CHECK(cudaGraphInstantiate(&ready, graph, 0));
  GPU_CHECK(cudaGraphDestroy(graph));
  graphs_.push_back(ready);
  return static_cast<GraphId>(graphs_.size()) - 1;
}

void CudaDevice::Replay(GraphId graph) {
  GPU_CHECK(cudaGraphLaunch(Graph(graphs_[graph]), Stream(streams_[0])));
}

void CudaDevice::CopyToDevice(void* device, const void* host, int64_t bytes, StreamId stream) {
  for (int64_t begin = 0; begin < bytes; begin += kStageBytes) {
    const int64_t size = std::min(bytes - begin, kStageBytes);
    Stage& stage = stages_[next_stage_++ % kNumStages];
    GPU_CHECK(cudaEventSynchronize(Event(stage.done)));
    std::memcpy(stage.memory, static_cast<const char*>(host) + begin, size);
    GPU_CHECK(cudaMemcpyAsync(static_cast<char*>(device) + begin, stage.memory, size, cudaMemcpyHostToDevice,
                              Stream(streams_[stream])));
    GPU_CHECK(cudaEventRecord(Event(stage.done), Stream(streams_[stream])));
  }
}

void CudaDevice::SendToDevice(void* device, const void* host, int64_t bytes, StreamId stream) {
  if (bytes == 0) return;
  GPU_CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, Stream(streams_[stream])));
}

void CudaDevice::CopyToHost(void* host, const void* device, int64_t bytes, StreamId stream) {
  if (bytes == 0) return;
  GPU_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, Stream(streams_[stream])));
}

void CudaDevice::CopyWithin(void* to, const void* from, int64_t bytes, StreamId stream) {
  if (bytes == 0 || to == from) return;
  GPU_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, Stream(streams_[stream])));
}

const KernelEntry& CudaDevice::kernel(OpKind kind) const {
  return CudaKernel(kind);
}

void CudaDevice::Launch(Kernel kernel, const KernelArguments& arguments, StreamId stream) {
  KernelArguments here = arguments;
  here.stream = streams_[stream];
  PushNvtxRange(Name(arguments.op.kind));
  kernel(here);
  PopNvtxRange();
  GPU_CHECK(cudaGetLastError());  // of the launch; what goes wrong while it runs shows at Synchronize
}

}  // namespace trireme
