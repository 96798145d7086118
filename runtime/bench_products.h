// How fast a Transformer's matrix products and its attention are, beside the best product in the same run.
#ifndef TRIREME_RUNTIME_BENCH_PRODUCTS_H_
#define TRIREME_RUNTIME_BENCH_PRODUCTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/device.h"
#include "runtime/dtype.h"

namespace trireme {

// The defaults are GPT-2 124M's.
struct ProductBenchmark {
  DType compute = DType::kF32;  // f32 or bf16
  int64_t tokens = 1024;
  int64_t width = 768;
  int64_t vocabulary = 50304;
  int64_t heads = 12;
  std::vector<int64_t> sequence_lengths = {256, 1024, 2048};  // of attention; together `tokens` or one
  int repetitions = 5;                                        // the fastest counts
};

struct ProductTiming {
  std::string name;  // "768 -> 2304 weight gradient", "attention of 4 x 256 forward"
  double seconds;
  double gflops;  // a second; those of the mathematics: causal attention counted half, recomputed scores not
  double share_of_peak;
};

// `peak_gflops`: of the best product in the same run (MeasureGemmPeak, MeasureCudaGemmPeak).
std::vector<ProductTiming> BenchmarkProducts(const ProductBenchmark& options, double peak_gflops,
                                             Device& device);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_BENCH_PRODUCTS_H_
