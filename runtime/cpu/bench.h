// How fast the fast kernels move their data, beside memcpy in the same run.
#ifndef TRIREME_RUNTIME_CPU_BENCH_H_
#define TRIREME_RUNTIME_CPU_BENCH_H_

#include <string>
#include <vector>

#include "runtime/dtype.h"

namespace trireme {

struct KernelBenchmark {
  DType compute = DType::kF32;  // f32 or bf16
  int num_threads = 1;
  // Activations are [tokens, width]; large enough that they do not stay in a cache.
  int64_t tokens = 8192;
  int64_t width = 1024;
  int64_t vocabulary = 50257;  // of the head, which sees tokens / 64 rows
  int64_t head_size = 64;
  int repetitions = 5;  // the fastest counts
};

struct KernelTiming {
  std::string name;
  double seconds;
  double bytes;            // read and written once each, as an ideal kernel would
  double share_of_memcpy;  // of memcpy's bytes a second, where a copied byte counts as read and written
};

// The first entry is memcpy itself, on as many threads.
std::vector<KernelTiming> BenchmarkKernels(const KernelBenchmark& options);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_BENCH_H_
