#include "tests/emulator/streams.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>

#include "tests/emulator/failure.h"

// NOLINTBEGIN(readability-identifier-naming): CUDA's names
struct CUevent_st {
  std::chrono::steady_clock::time_point recorded;
  CUstream_st* stream = nullptr;  // that it was last recorded in
  uint64_t asked = 0;             // how often it was recorded
  uint64_t done = 0;              // how much of that has come to pass
};
struct CUstream_st {
  // Work, the recording of an event, or the wait for one.
  struct Item {
    std::function<void()> work;
    CUevent_st* event = nullptr;
    uint64_t number = 0;  // of the recording
    bool waits = false;

    bool IsReady() const { return !waits || event->done >= number; }
  };

  trireme::emulator::StreamMode mode;
  bool is_first;
  std::deque<Item> items = {};

  // The oldest item; what it waits for comes before.
  void RunOne();
  void RunAll() {
    while (!items.empty()) RunOne();
  }
  void RunReady() {
    while (!items.empty() && items.front().IsReady()) RunOne();
  }
  void Add(Item item) {
    items.push_back(std::move(item));
    if (mode == trireme::emulator::StreamMode::kOthersFirst && !is_first) RunReady();
  }
};
struct CUgraph_st {
  std::vector<trireme::emulator::GraphNode> nodes;
};
struct CUgraphExec_st {
  std::vector<trireme::emulator::GraphNode> nodes;
};
// NOLINTEND(readability-identifier-naming)

namespace trireme::emulator {
namespace {

std::atomic<StreamMode> stream_mode = StreamMode::kAtOnce;

// Of this thread: cudaStreamCaptureModeThreadLocal.
struct Capture {
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
};
thread_local Capture capture;
thread_local std::vector<cudaStream_t> streams;

bool Captures() {
  return capture.graph != nullptr;
}

void RunUntil(cudaEvent_t event, uint64_t number) {
  while (event->done < number) event->stream->RunOne();
}

}  // namespace

void SetStreamMode(StreamMode mode) {
  stream_mode = mode;
}

std::vector<GraphNode>* CapturedNodes() {
  return Captures() ? &capture.graph->nodes : nullptr;
}

const std::vector<GraphNode>& NodesOf(cudaGraph_t graph) {
  return graph->nodes;
}

Fate FateOf(cudaStream_t stream, const char* what) {
  if (Captures()) {
    if (stream != capture.stream) {
      ReportFailure(std::string(what) + " is enqueued on another stream than the one that is captured");
    }
    return Fate::kInGraph;
  }
  return stream == nullptr || stream->mode == StreamMode::kAtOnce ? Fate::kNow : Fate::kLater;
}

void DoLater(cudaStream_t stream, std::function<void()> work) {
  stream->Add({.work = std::move(work)});
}

}  // namespace trireme::emulator

using trireme::emulator::capture;
using trireme::emulator::Captures;
using trireme::emulator::Enqueue;
using trireme::emulator::StreamMode;
using trireme::emulator::streams;

void CUstream_st::RunOne() {
  const Item item = std::move(items.front());
  items.pop_front();
  if (item.work) item.work();
  if (item.event == nullptr) return;
  if (item.waits) {
    trireme::emulator::RunUntil(item.event, item.number);
  } else {
    item.event->done = item.number;
    item.event->recorded = std::chrono::steady_clock::now();
  }
}

cudaError_t cudaDeviceSynchronize() {
  if (Captures()) return cudaErrorStreamCaptureUnsupported;
  for (cudaStream_t stream : streams) stream->RunAll();
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = new CUstream_st{trireme::emulator::stream_mode, streams.empty()};
  streams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return cudaStreamCreate(stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  stream->RunAll();
  std::erase(streams, stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (Captures()) return cudaErrorStreamCaptureUnsupported;
  if (stream != nullptr) stream->RunAll();
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return cudaStreamSynchronize(stream);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (Captures()) return cudaErrorStreamCaptureUnsupported;
  if (event == nullptr) return cudaErrorInvalidValue;
  if (stream != nullptr) {
    stream->Add({.event = event, .number = event->asked, .waits = true});
    if (stream->mode == StreamMode::kAtOnce) stream->RunAll();
  }
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (Captures()) return cudaErrorStreamCaptureUnsupported;
  ++event->asked;
  if (stream == nullptr) {
    event->done = event->asked;
    event->recorded = std::chrono::steady_clock::now();
    return cudaSuccess;
  }
  event->stream = stream;
  stream->Add({.event = event, .number = event->asked});
  if (stream->mode == StreamMode::kAtOnce) stream->RunAll();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (Captures()) return cudaErrorStreamCaptureUnsupported;
  trireme::emulator::RunUntil(event, event->asked);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return cudaEventSynchronize(event);  // time has passed
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->recorded - start->recorded).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr || Captures() || mode != cudaStreamCaptureModeThreadLocal) {
    return cudaErrorStreamCaptureUnsupported;
  }
  capture = {stream, new CUgraph_st};
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!Captures() || stream != capture.stream) return cudaErrorInvalidValue;
  *graph = capture.graph;
  capture = {};
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  if (flags != 0) return cudaErrorInvalidValue;
  *executable = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (Captures() || stream == nullptr) return cudaErrorStreamCaptureUnsupported;
  Enqueue(stream, "cudaGraphLaunch", "", [executable] {
    for (const trireme::emulator::GraphNode& node : executable->nodes) node.run();
  });
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
