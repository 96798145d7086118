// How fast the kernels of a device move their data, beside a copy in the same run.
#ifndef TRIREME_RUNTIME_BENCH_H_
#define TRIREME_RUNTIME_BENCH_H_

#include <string>
#include <vector>

#include "runtime/device.h"
#include "runtime/dtype.h"

namespace trireme {

struct KernelBenchmark {
  DType compute = DType::kF32;  // f32 or bf16
  // Activations are [tokens, width]; large enough that they do not stay in a cache.
  int64_t tokens = 8192;
  int64_t width = 1024;
  int64_t vocabulary = 50257;
  int64_t head_tokens = 128;  // that see the vocabulary
  int64_t head_size = 64;
  int repetitions = 5;  // the fastest counts
};

struct KernelTiming {
  std::string name;
  double seconds;
  double bytes;          // read and written once each, as an ideal kernel would
  double share_of_copy;  // of the copy's bytes a second, where a copied byte counts as read and written
};

// The first entry is the copy itself: memcpy on as many threads as the kernels use, or the device's own.
std::vector<KernelTiming> BenchmarkKernels(const KernelBenchmark& options, Device& device);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_BENCH_H_
