#include "runtime/bench_products.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/bench_time.h"

namespace trireme {
namespace {

class ProductBench {
 public:
  ProductBench(const ProductBenchmark& options, double peak_gflops, Device& device)
      : options_(options), peak_gflops_(peak_gflops), device_(device) {}

  const ProductBenchmark& options() const { return options_; }

  View Floats(DType dtype, Shape shape) {
    const View view = {device_.Allocate(shape.num_elements() * SizeOf(dtype)), dtype, shape};
    FillWithNumbers(view, device_);
    return view;
  }
  View Floats(Shape shape) { return Floats(options_.compute, shape); }
  // The first key that each token of sequences of `length` sees.
  View Starts(int64_t tokens, int64_t length) {
    std::vector<int64_t> starts(tokens);
    for (int64_t t = 0; t < tokens; ++t) starts[t] = t / length * length;
    const View view = {device_.Allocate(tokens * SizeOf(DType::kI32)), DType::kI32, {tokens}};
    FillWith(starts, view, device_);
    return view;
  }

  // Where each expert's rows begin: expert e has about 2 e + 1 parts of experts^2.
  View Offsets(int64_t rows, int64_t experts) {
    std::vector<int64_t> offsets;
    for (int64_t e = 0; e <= experts; ++e) offsets.push_back(rows * e * e / (experts * experts));
    const View view = {device_.Allocate((experts + 1) * SizeOf(DType::kI32)), DType::kI32, {experts + 1}};
    FillWith(offsets, view, device_);
    return view;
  }

  ProductTiming Time(std::string name, double flops, const Op& op, const std::vector<View>& inputs,
                     const std::vector<View>& outputs, bool accumulate = false) {
    const Kernel run = device_.kernel(op.kind).run;
    const KernelArguments arguments = ArgumentsOf(op, inputs, outputs, accumulate, device_);
    const double seconds =
        SecondsOfOne([&] { device_.Launch(run, arguments, 0); }, options_.repetitions, device_);
    const double gflops = 1e-9 * flops / seconds;
    return {std::move(name), seconds, gflops, gflops / peak_gflops_};
  }

 private:
  const ProductBenchmark& options_;
  const double peak_gflops_;
  Device& device_;
};

void BenchLinear(ProductBench& bench, int64_t k, int64_t n, std::vector<ProductTiming>& timings) {
  const ProductBenchmark& options = bench.options();
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

// Experts' products in one launch: rows of two experts a token, of which the experts have from an eighth of
// the mean to almost twice the mean.
void BenchGroupedLinear(ProductBench& bench, std::vector<ProductTiming>& timings) {
  constexpr int64_t kExperts = 8, kChosen = 2;
  const ProductBenchmark& options = bench.options();
  const int64_t rows = kChosen * options.tokens, k = options.width, n = 2 * options.width;
  const View offsets = bench.Offsets(rows, kExperts);
  const View x = bench.Floats({rows, k}), w = bench.Floats({kExperts * n, k}), y = bench.Floats({rows, n});
  const View dw = bench.Floats(DType::kF32, w.shape);
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(n * k);
  const std::string name = absl::StrCat(kExperts, " experts ", k, " -> ", n, " ");
  timings.push_back(
      bench.Time(name + "forward", flops, {.kind = OpKind::kGroupedLinear}, {x, w, offsets}, {y}));
  timings.push_back(bench.Time(name + "input gradient", flops, {.kind = OpKind::kGroupedLinearInputGrad},
                               {y, w, offsets}, {x}));
  timings.push_back(bench.Time(name + "weight gradient", flops, {.kind = OpKind::kGroupedLinearWeightGrad},
                               {y, x, offsets}, {dw}, true));
}

void BenchAttention(ProductBench& bench, int64_t length, std::vector<ProductTiming>& timings) {
  const ProductBenchmark& options = bench.options();
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

std::vector<ProductTiming> BenchmarkProducts(const ProductBenchmark& options, double peak_gflops,
                                             Device& device) {
  ProductBench bench(options, peak_gflops, device);
  std::vector<ProductTiming> timings;
  const int64_t width = options.width;
  const std::pair<int64_t, int64_t> products[] = {{width, 3 * width},
                                                  {width, width},
                                                  {width, 4 * width},
                                                  {4 * width, width},
                                                  {width, options.vocabulary}};
  for (const auto& [k, n] : products) BenchLinear(bench, k, n, timings);
  BenchGroupedLinear(bench, timings);
  for (const int64_t length : options.sequence_lengths) BenchAttention(bench, length, timings);
  return timings;
}

}  // namespace trireme
