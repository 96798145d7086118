// Host tensors for tests of kernels: the same numbers in any dtype, and the distance of two of them.
#ifndef TRIREME_RUNTIME_CPU_TEST_TENSOR_H_
#define TRIREME_RUNTIME_CPU_TEST_TENSOR_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "runtime/kernel.h"

namespace trireme {

// 64-byte aligned bytes, as a device's memory is; freed with the object.
class AlignedBytes {
 public:
  explicit AlignedBytes(int64_t bytes, int fill = 0)
      : size_(bytes), data_(new (kAlign) char[std::max<int64_t>(bytes, 1)]) {
    std::memset(data_.get(), fill, bytes);
  }
  char* data() const { return data_.get(); }
  int64_t size() const { return size_; }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(char* p) const { operator delete[](p, kAlign); }
  };
  int64_t size_;
  std::unique_ptr<char[], Free> data_;
};

class TestTensor {
 public:
  // Filled with NaN, so that what a kernel leaves unwritten shows.
  TestTensor(DType dtype, Shape shape)
      : dtype_(dtype), shape_(shape), bytes_(shape.num_elements() * SizeOf(dtype), 0xff) {}

  static TestTensor Of(DType dtype, Shape shape, const std::vector<double>& values) {
    TestTensor t(dtype, shape);
    for (int64_t i = 0; i < t.size(); ++i) t.Set(i, values[i]);
    return t;
  }
  // Normal numbers times `scale`, already rounded to bf16: the same in every dtype.
  static TestTensor Random(DType dtype, Shape shape, int seed, double scale = 1.0) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    TestTensor t(dtype, shape);
    for (int64_t i = 0; i < t.size(); ++i) {
      t.Set(i, static_cast<float>(Bf16(static_cast<float>(scale) * normal(generator))));
    }
    return t;
  }

  TestTensor As(DType dtype) const { return Of(dtype, shape_, Doubles()); }

  int64_t size() const { return shape_.num_elements(); }
  View view() const { return {bytes_.data(), dtype_, shape_}; }
  bool SameBits(const TestTensor& other) const {
    return bytes_.size() == other.bytes_.size() &&
           std::memcmp(bytes_.data(), other.bytes_.data(), bytes_.size()) == 0;
  }

  std::vector<double> Doubles() const {
    std::vector<double> values(size());
    for (int64_t i = 0; i < size(); ++i) values[i] = Get(i);
    return values;
  }

 private:
  double Get(int64_t i) const {
    switch (dtype_) {
      case DType::kF64:
        return view().as<double>()[i];
      case DType::kF32:
        return view().as<float>()[i];
      case DType::kBF16:
        return static_cast<float>(view().as<Bf16>()[i]);
      case DType::kI64:
        return static_cast<double>(view().as<int64_t>()[i]);
      default:
        return view().as<int32_t>()[i];
    }
  }
  void Set(int64_t i, double value) {
    switch (dtype_) {
      case DType::kF64:
        view().as<double>()[i] = value;
        break;
      case DType::kF32:
        view().as<float>()[i] = static_cast<float>(value);
        break;
      case DType::kBF16:
        view().as<Bf16>()[i] = Bf16(static_cast<float>(value));
        break;
      case DType::kI64:
        view().as<int64_t>()[i] = static_cast<int64_t>(value);
        break;
      default:
        view().as<int32_t>()[i] = static_cast<int32_t>(value);
    }
  }

  DType dtype_;
  Shape shape_;
  AlignedBytes bytes_;
};

// ||a - b|| / ||b||; NaN where anything is.
inline double Distance(const TestTensor& a, const TestTensor& b) {
  const std::vector<double> x = a.Doubles(), y = b.Doubles();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    difference += (x[i] - y[i]) * (x[i] - y[i]);
    norm += y[i] * y[i];
  }
  return norm == 0 ? std::sqrt(difference) : std::sqrt(difference / norm);
}

// Runs a kernel on these tensors with a workspace full of NaN.
inline void RunKernel(const KernelEntry& entry, const Op& op, const std::vector<View>& inputs,
                      const std::vector<View>& outputs, bool accumulate = false, int num_threads = 1) {
  const int64_t bytes =
      entry.workspace_bytes == nullptr ? 0 : entry.workspace_bytes(op, inputs, outputs, num_threads);
  const AlignedBytes workspace(bytes, 0xff);
  entry.run({op, inputs, outputs, accumulate, bytes == 0 ? nullptr : workspace.data(), {}, {}, num_threads});
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_TEST_TENSOR_H_
