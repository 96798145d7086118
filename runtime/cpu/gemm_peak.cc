#include "runtime/cpu/gemm_peak.h"

#include <algorithm>
#include <chrono>

#include "runtime/cpu/cpu_device.h"
#include "runtime/cpu/gemm.h"

namespace trireme {
namespace {

constexpr int kRepetitions = 5;
constexpr double kSecondsASize = 0.4;

struct Size {
  int64_t m, n, k;
};
constexpr Size kSizes[] = {{512, 512, 512}, {1024, 1024, 1024}, {1024, 3072, 768}, {1536, 1536, 1536}};

int64_t Largest(int64_t Size::*rows, int64_t Size::*cols) {
  int64_t elements = 0;
  for (const Size& size : kSizes) elements = std::max(elements, size.*rows * size.*cols);
  return elements;
}

// From -1 to 1: products of zeros are faster on some machines.
void* Numbers(CpuDevice& device, DType dtype, int64_t elements) {
  void* data = device.Allocate(elements * SizeOf(dtype));
  uint32_t state = 1;
  for (int64_t i = 0; i < elements; ++i) {
    state = state * 1664525u + 1013904223u;
    const float value = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
    if (dtype == DType::kBF16) {
      static_cast<Bf16*>(data)[i] = Bf16(value);
    } else {
      static_cast<float*>(data)[i] = value;
    }
  }
  return data;
}

}  // namespace

double MeasureGemmPeak(DType dtype, int num_threads) {
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  CpuDevice device(num_threads);
  const void* a = Numbers(device, dtype, Largest(&Size::m, &Size::k));
  const void* b = Numbers(device, dtype, Largest(&Size::k, &Size::n));
  void* c = device.Allocate(Largest(&Size::m, &Size::n) * SizeOf(DType::kF32));
  double peak = 0;
  for (const Size& size : kSizes) {
    const GemmSpec spec = {.m = size.m,
                           .n = size.n,
                           .k = size.k,
                           .transpose_b = true,
                           .input = dtype,
                           .num_threads = num_threads};
    void* workspace = device.Allocate(GemmWorkspaceBytes(spec));
    Gemm(spec, a, b, nullptr, c, workspace);
    const double flops = 2.0 * static_cast<double>(size.m) * static_cast<double>(size.n * size.k);
    const Clock::time_point begin = Clock::now();
    for (int i = 0; i < kRepetitions && (i == 0 || seconds_since(begin) < kSecondsASize); ++i) {
      const Clock::time_point start = Clock::now();
      Gemm(spec, a, b, nullptr, c, workspace);
      peak = std::max(peak, 1e-9 * flops / seconds_since(start));
    }
  }
  return peak;
}

}  // namespace trireme
