#include "runtime/cpu/bench_products.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/cpu/gemm_peak.h"

namespace trireme {
namespace {

class ProductBench {
 public:
  ProductBench(const ProductBenchmark& options, double peak_gflops)
      : options_(options), peak_gflops_(peak_gflops), device_(options.num_threads) {}

  // Numbers from -1 to 1, in steps of 1/128.
  View Floats(DType dtype, Shape shape) {
    const View view = {device_.Allocate(shape.num_elements() * SizeOf(dtype)), dtype, shape};
    for (int64_t i = 0; i < shape.num_elements(); ++i) {
      const float value = static_cast<float>(i * 2654435761u >> 16 & 255) / 128.0f - 1.0f;
      if (dtype == DType::kBF16) {
        view.as<Bf16>()[i] = Bf16(value);
      } else {
        view.as<float>()[i] = value;
      }
    }
    return view;
  }
  View Floats(Shape shape) { return Floats(options_.compute, shape); }
  // The first key that each token of sequences of `length` sees.
  View Starts(int64_t tokens, int64_t length) {
    const View view = {device_.Allocate(tokens * SizeOf(DType::kI32)), DType::kI32, {tokens}};
    for (int64_t t = 0; t < tokens; ++t) view.as<int32_t>()[t] = static_cast<int32_t>(t / length * length);
    return view;
  }

  ProductTiming Time(std::string name, double flops, const Op& op, const std::vector<View>& inputs,
                     const std::vector<View>& outputs, bool accumulate = false) {
    const KernelEntry& entry = device_.kernel(op.kind);
    const int64_t bytes = entry.workspace_bytes(op, inputs, outputs, options_.num_threads);
    const KernelArguments arguments = {
        op, inputs, outputs, accumulate, device_.Allocate(bytes), {}, {}, options_.num_threads};
    device_.Launch(entry.run, arguments, 0);
    double seconds = std::numeric_limits<double>::infinity();
    for (int i = 0; i < options_.repetitions; ++i) {
      const auto start = std::chrono::steady_clock::now();
      device_.Launch(entry.run, arguments, 0);
      const auto end = std::chrono::steady_clock::now();
      seconds = std::min(seconds, std::chrono::duration<double>(end - start).count());
    }
    const double gflops = 1e-9 * flops / seconds;
    return {std::move(name), seconds, gflops, gflops / peak_gflops_};
  }

 private:
  const ProductBenchmark& options_;
  const double peak_gflops_;
  CpuDevice device_;
};

void BenchLinear(const ProductBenchmark& options, double peak, int64_t k, int64_t n,
                 std::vector<ProductTiming>& timings) {
  ProductBench bench(options, peak);
  const View x = bench.Floats({options.tokens, k}), w = bench.Floats({n, k});
  const View y = bench.Floats({options.tokens, n});
  const View bias = bench.Floats(DType::kF32, {n}), dw = bench.Floats(DType::kF32, {n, k});
  const double flops = 2.0 * static_cast<double>(options.tokens) * static_cast<double>(n * k);
  const std::string name = absl::StrCat(k, " -> ", n, " ");
  timings.push_back(bench.Time(name + "forward", flops, {.kind = OpKind::kLinear}, {x, w, bias}, {y}));
  timings.push_back(
      bench.Time(name + "input gradient", flops, {.kind = OpKind::kLinearInputGrad}, {y, w}, {x}));
  timings.push_back(
      bench.Time(name + "weight gradient", flops, {.kind = OpKind::kLinearWeightGrad}, {y, x}, {dw}, true));
}

void BenchAttention(const ProductBenchmark& options, double peak, int64_t length,
                    std::vector<ProductTiming>& timings) {
  ProductBench bench(options, peak);
  const int64_t count = std::max<int64_t>(1, options.tokens / length);
  const int64_t tokens = count * length;
  const int64_t size = options.width / options.heads;
  const Attributes attributes = {
      {"query_heads", options.heads}, {"key_heads", options.heads}, {"head_size", size}};
  const View qkv = bench.Floats({tokens, 3 * options.width}), lo = bench.Starts(tokens, length);
  const View out = bench.Floats({tokens, options.width}), dout = bench.Floats({tokens, options.width});
  const View lse = bench.Floats(DType::kF32, {tokens, options.heads}), dqkv = bench.Floats(qkv.shape);
  const double mean_keys = 0.5 * static_cast<double>(length + 1);
  const double flops = 4.0 * mean_keys * static_cast<double>(tokens * options.width);
  const std::string name = absl::StrCat("attention of ", count, " x ", length, " ");
  timings.push_back(bench.Time(name + "forward", flops,
                               {.kind = OpKind::kAttention, .attributes = attributes}, {qkv, lo},
                               {out, lse}));
  timings.push_back(bench.Time(name + "backward", 2 * flops,
                               {.kind = OpKind::kAttentionGrad, .attributes = attributes},
                               {dout, qkv, out, lse, lo}, {dqkv}));
}

}  // namespace

std::vector<ProductTiming> BenchmarkProducts(const ProductBenchmark& options) {
  const double peak = MeasureGemmPeak(options.compute, options.num_threads);
  std::vector<ProductTiming> timings = {{"best product", 0, peak, 1}};
  const int64_t width = options.width;
  const std::pair<int64_t, int64_t> products[] = {{width, 3 * width},
                                                  {width, width},
                                                  {width, 4 * width},
                                                  {4 * width, width},
                                                  {width, options.vocabulary}};
  for (const auto& [k, n] : products) BenchLinear(options, peak, k, n, timings);
  for (const int64_t length : options.sequence_lengths) BenchAttention(options, peak, length, timings);
  return timings;
}

}  // namespace trireme
