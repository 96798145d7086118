#include "tests/emulator/fake_runtime.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/emulator/streams.h"

namespace {

using trireme::emulator::BytesOf;
using trireme::emulator::CapturedNodes;
using trireme::emulator::Enqueue;

// Whether this thread captures, which most of the runtime's functions would break off.
bool Captures() {
  return CapturedNodes() != nullptr;
}

constexpr size_t kDeviceBytes = size_t{16} << 30;
constexpr int kNumMultiprocessors = 4;  // few, so that loops of persistent grids go round more than once

// As cudaMalloc aligns. Filled with NaN: memory is not zero because it is new.
cudaError_t Allocate(void** pointer, size_t bytes) {
  if (Captures()) return cudaErrorStreamCaptureUnsupported;
  constexpr size_t kAlignment = 256;
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (bytes > kDeviceBytes || posix_memalign(pointer, kAlignment, bytes) != 0)
    return cudaErrorMemoryAllocation;
  std::memset(*pointer, 0xff, bytes);
  return cudaSuccess;
}

}  // namespace

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
  }
  return "unrecognized error code";
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = kNumMultiprocessors;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      return cudaSuccess;
  }
  return cudaErrorInvalidValue;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  *properties = {};
  std::snprintf(properties->name, sizeof(properties->name), "emulated GPU");
  properties->uuid.bytes[0] = 1;
  properties->totalGlobalMem = kDeviceBytes;
  properties->multiProcessorCount = kNumMultiprocessors;
  properties->major = 9;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *free_bytes = *total_bytes = kDeviceBytes;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return Allocate(pointer, bytes);
}
cudaError_t cudaFree(void* pointer) {
  const cudaError_t status = cudaDeviceSynchronize();  // what still uses it comes first
  if (status == cudaSuccess) std::free(pointer);
  return status;
}
cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return Allocate(pointer, bytes);
}
cudaError_t cudaFreeHost(void* pointer) {
  return cudaFree(pointer);
}

cudaError_t cudaMemcpy(void* target, const void* source, size_t bytes, cudaMemcpyKind) {
  if (Captures()) return cudaErrorStreamCaptureUnsupported;
  if (bytes > 0) std::memcpy(target, source, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  Enqueue(stream, "cudaMemcpyAsync", BytesOf(target, source, bytes),
          [target, source, bytes] { std::memcpy(target, source, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* target, size_t target_pitch, const void* source, size_t source_pitch,
                              size_t width, size_t height, cudaMemcpyKind, cudaStream_t stream) {
  // As the runtime does.
  if (width > target_pitch || width > source_pitch) return cudaErrorInvalidValue;
  Enqueue(stream, "cudaMemcpy2DAsync", BytesOf(target, target_pitch, source, source_pitch, width, height),
          [target, target_pitch, source, source_pitch, width, height] {
            for (size_t row = 0; row < height; ++row) {
              std::memcpy(static_cast<char*>(target) + row * target_pitch,
                          static_cast<const char*>(source) + row * source_pitch, width);
            }
          });
  return cudaSuccess;
}
cudaError_t cudaMemset(void* target, int value, size_t bytes) {
  if (Captures()) return cudaErrorStreamCaptureUnsupported;
  if (bytes > 0) std::memset(target, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  Enqueue(stream, "cudaMemsetAsync", BytesOf(target, value, bytes),
          [target, value, bytes] { std::memset(target, value, bytes); });
  return cudaSuccess;
}
