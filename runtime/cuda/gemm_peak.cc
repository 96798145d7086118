#include <algorithm>
#include <vector>

#include "runtime/clock.h"
#include "runtime/cuda/check.h"
#include "runtime/cuda/gemm.h"
#include "runtime/cuda_backend.h"

namespace trireme {
namespace {

constexpr int64_t kSizes[] = {4096, 8192};
constexpr int kRepetitions = 3;
constexpr double kSecondsARepetition = 0.1;

// From -1 to 1, in GPU memory: products of zeros draw less power and are faster.
void* Numbers(DType dtype, int64_t elements) {
  std::vector<char> host(elements * SizeOf(dtype));
  uint32_t state = 1;
  for (int64_t i = 0; i < elements; ++i) {
    state = state * 1664525u + 1013904223u;
    const float value = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
    if (dtype == DType::kBF16) {
      reinterpret_cast<Bf16*>(host.data())[i] = Bf16(value);
    } else {
      reinterpret_cast<float*>(host.data())[i] = value;
    }
  }
  void* memory = nullptr;
  GPU_CHECK(cudaMalloc(&memory, host.size()));
  GPU_CHECK(cudaMemcpy(memory, host.data(), host.size(), cudaMemcpyHostToDevice));
  return memory;
}

}  // namespace

double MeasureCudaGemmPeak(DType dtype, Device& device) {
  const int64_t largest = *std::max_element(std::begin(kSizes), std::end(kSizes));
  void* const a = Numbers(dtype, largest * largest);
  void* const b = Numbers(dtype, largest * largest);
  void* c = nullptr;
  void* workspace = nullptr;
  GPU_CHECK(cudaMalloc(&c, largest * largest * SizeOf(dtype)));
  GPU_CHECK(cudaMalloc(&workspace, kCudaGemmWorkspaceBytes));
  double peak = 0;
  for (const int64_t size : kSizes) {
    const GemmSpec spec = {
        .m = size, .n = size, .k = size, .transpose_b = true, .input = dtype, .output = dtype};
    const auto seconds_of = [&](int calls) {
      const double begin = NowSeconds();
      for (int i = 0; i < calls; ++i) {
        CudaGemm(spec, {.a = a, .b = b, .c = c}, workspace, device.native(0));
      }
      device.Synchronize(0);
      return NowSeconds() - begin;
    };
    seconds_of(1);  // chooses the algorithm
    const int calls = std::max(1, static_cast<int>(kSecondsARepetition / seconds_of(1)));
    const double flops = 2.0 * static_cast<double>(size) * static_cast<double>(size * size);
    for (int i = 0; i < kRepetitions; ++i) peak = std::max(peak, 1e-9 * flops * calls / seconds_of(calls));
  }
  for (void* memory : {a, b, c, workspace}) GPU_CHECK(cudaFree(memory));
  return peak;
}

}  // namespace trireme
