// An array in device memory for tests of kernels: filled from a vector, read back into one.
#ifndef TRIREME_TESTS_EMULATOR_DEVICE_BUFFER_H_
#define TRIREME_TESTS_EMULATOR_DEVICE_BUFFER_H_

#include <cstddef>
#include <vector>

#include "runtime/cuda/gpu.h"

namespace trireme {

template <typename T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(const std::vector<T>& values) : size_(values.size()) {
    cudaMalloc(&data_, size_ * sizeof(T));
    cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice);
  }
  // Contents undefined.
  explicit DeviceBuffer(size_t size) : size_(size) { cudaMalloc(&data_, size_ * sizeof(T)); }
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  T* data() { return data_; }
  size_t size() const { return size_; }
  // After everything that was launched.
  std::vector<T> Read() const {
    std::vector<T> values(size_);
    cudaDeviceSynchronize();
    cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost);
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

}  // namespace trireme

#endif  // TRIREME_TESTS_EMULATOR_DEVICE_BUFFER_H_
