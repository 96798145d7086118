#include "runtime/bench.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "runtime/bench_time.h"
#include "runtime/op_table.h"
#include "runtime/ops/optimizer.h"
#include "runtime/random.h"

namespace trireme {
namespace {

double Bytes(const View& view) {
  return static_cast<double>(view.shape.num_elements() * SizeOf(view.dtype));
}

class Bench {
 public:
  Bench(const KernelBenchmark& options, Device& device) : options_(options), device_(device) {}

  DType compute() const { return options_.compute; }
  const KernelBenchmark& options() const { return options_; }

  Device& device() { return device_; }

  View Floats(DType dtype, Shape shape) {
    const View view = Empty(dtype, shape);
    FillWithNumbers(view, device_);
    return view;
  }
  View Activation() { return Floats(compute(), {options_.tokens, options_.width}); }
  View Vector() { return Floats(DType::kF32, {options_.width}); }

  // Whole numbers 0, step, 2 step, ... modulo `modulus`.
  View Integers(int64_t n, int64_t step, int64_t modulus, DType dtype = DType::kI32) {
    std::vector<int64_t> values(n);
    for (int64_t i = 0; i < n; ++i) values[i] = i * step % modulus;
    const View view = Empty(dtype, {n});
    FillWith(values, view, device_);
    return view;
  }

  // Blocks begin at different places in a page. Where those that a kernel walks through together begin at the
  // same place, their lines fight for the same ways of the cache, which can cost half the speed.
  View Empty(DType dtype, Shape shape) {
    constexpr int64_t kLineBytes = 64;
    constexpr int64_t kPageLines = 64;
    next_line_ = (next_line_ + 17) % kPageLines;
    const int64_t offset = next_line_ * kLineBytes;
    auto* block = static_cast<char*>(device_.Allocate(shape.num_elements() * SizeOf(dtype) + offset));
    return {block + offset, dtype, shape};
  }

  void Time(std::string name, double bytes, const std::function<void()>& enqueue) {
    const double seconds = SecondsOfOne(enqueue, options_.repetitions, device_);
    const double share = timings_.empty() ? 1 : bytes / seconds * timings_[0].seconds / timings_[0].bytes;
    timings_.push_back({std::move(name), seconds, bytes, share});
  }

  // `bytes` 0: all operands once.
  void TimeKernel(OpKind kind, Attributes attributes, const std::vector<View>& inputs,
                  const std::vector<View>& outputs, double bytes = 0, bool accumulate = false) {
    const Op op = {.kind = kind, .attributes = std::move(attributes)};
    const Kernel run = device_.kernel(kind).run;
    const KernelArguments arguments = ArgumentsOf(op, inputs, outputs, accumulate, device_);
    if (bytes == 0) {
      for (const View& view : inputs) bytes += Bytes(view);
      for (const View& view : outputs) bytes += Bytes(view);
    }
    Time(Name(kind), bytes, [&] { device_.Launch(run, arguments, 0); });
  }

  std::vector<KernelTiming> Finish() { return std::move(timings_); }

 private:
  KernelBenchmark options_;
  Device& device_;
  int64_t next_line_ = 0;
  std::vector<KernelTiming> timings_;
};

void BenchCopy(Bench& bench) {
  constexpr int64_t kPieceBytes = 1 << 20;
  const View from = bench.Activation();
  const View to = bench.Activation();
  const auto bytes = static_cast<int64_t>(Bytes(from));
  if (!bench.device().is_host()) {
    bench.Time("copy", 2 * Bytes(from), [&] { bench.device().CopyWithin(to.data, from.data, bytes, 0); });
    return;
  }
  const int num_threads = bench.device().num_threads();
  bench.Time("memcpy", 2 * Bytes(from), [&] {
#pragma omp parallel for num_threads(num_threads) schedule(static)
    for (int64_t at = 0; at < bytes; at += kPieceBytes) {
      std::memcpy(to.as<char>() + at, from.as<char>() + at, std::min(kPieceBytes, bytes - at));
    }
  });
}

void BenchElementwise(Bench& bench) {
  const View x = bench.Activation();
  const View y = bench.Activation();
  const View z = bench.Activation();
  bench.TimeKernel(OpKind::kAdd, {}, {x, y}, {z});
  const View wide = bench.Floats(DType::kF32, x.shape);
  bench.TimeKernel(OpKind::kCast, {}, {wide}, {x});
  bench.TimeKernel(OpKind::kAccumulate, {}, {wide}, {bench.Floats(DType::kF32, x.shape)}, 3 * Bytes(wide),
                   true);
  bench.TimeKernel(OpKind::kGelu, {}, {x}, {z});
  bench.TimeKernel(OpKind::kGeluGrad, {}, {x, y}, {z});
  const Shape half = {x.shape.rows(), x.shape.cols() / 2};
  const View narrow = bench.Floats(bench.compute(), half);
  bench.TimeKernel(OpKind::kSwiGlu, {}, {x}, {narrow});
  bench.TimeKernel(OpKind::kSwiGluGrad, {}, {narrow, x}, {z});
  const View token_index = bench.Integers(x.shape.rows(), 1, x.shape.rows(), DType::kI64);
  bench.TimeKernel(OpKind::kDropout, {{"rate", 0.1}, {"seed", int64_t{1}}, {"name", int64_t{2}}},
                   {x, token_index}, {z});
}

void BenchNorms(Bench& bench) {
  const View x = bench.Activation();
  const View y = bench.Activation();
  const View dy = bench.Activation();
  const View gain = bench.Vector();
  const View dgain = bench.Vector();
  const View dbias = bench.Vector();
  const View r = bench.Empty(DType::kF32, {x.shape.rows()});
  const View statistics = bench.Empty(DType::kF32, {x.shape.rows(), 2});
  const Attributes eps = {{"eps", 1e-5}};
  bench.TimeKernel(OpKind::kRmsNorm, eps, {x, gain}, {y, r});
  bench.TimeKernel(OpKind::kRmsNormGrad, eps, {dy, x, gain, r}, {y, dgain});
  bench.TimeKernel(OpKind::kLayerNorm, eps, {x, gain, gain}, {y, statistics});
  bench.TimeKernel(OpKind::kLayerNormGrad, eps, {dy, x, gain, statistics}, {y, dgain, dbias});
  const View sum = bench.Activation();
  bench.TimeKernel(OpKind::kAddRmsNorm, eps, {x, dy, gain}, {sum, y, r});
  bench.TimeKernel(OpKind::kAddRmsNormGrad, eps, {dy, x, gain, r, sum}, {y, dgain});
  bench.TimeKernel(OpKind::kAddLayerNorm, eps, {x, dy, gain, gain}, {sum, y, statistics});
  bench.TimeKernel(OpKind::kAddLayerNormGrad, eps, {dy, x, gain, statistics, sum}, {y, dgain, dbias});
  bench.TimeKernel(OpKind::kColumnSum, {}, {x}, {dbias});
}

void BenchTokens(Bench& bench) {
  const int64_t tokens = bench.options().tokens;
  const int64_t vocabulary = bench.options().vocabulary;
  const View x = bench.Activation();
  const View y = bench.Activation();
  const int64_t heads = x.shape.cols() / bench.options().head_size / 3;
  const int64_t columns = 3 * heads * bench.options().head_size;
  const View qkv = bench.Floats(bench.compute(), {tokens, columns});
  bench.TimeKernel(OpKind::kRope,
                   {{"query_heads", heads},
                    {"key_heads", heads},
                    {"head_size", bench.options().head_size},
                    {"theta", 1e4},
                    {"inverse", int64_t{0}}},
                   {qkv, bench.Integers(tokens, 1, 1024)}, {bench.Floats(bench.compute(), qkv.shape)});
  const View ids = bench.Integers(tokens, 7919, vocabulary);
  const View table = bench.Floats(bench.compute(), {vocabulary, x.shape.cols()});
  const View dtable = bench.Floats(DType::kF32, table.shape);
  const Attributes whole = {{"sharded", int64_t{0}}};
  bench.TimeKernel(OpKind::kEmbedding, whole, {ids, table}, {x}, 2 * Bytes(x));
  // Touched rows are read and written; the table is zeroed first, or not.
  const double added = Bytes(x) + 2 * static_cast<double>(x.shape.num_elements() * SizeOf(DType::kF32));
  bench.TimeKernel(OpKind::kEmbeddingGrad, whole, {x, ids}, {dtable}, added, true);
  bench.TimeKernel(OpKind::kEmbeddingGrad, whole, {x, ids}, {dtable}, added + Bytes(dtable));
  bench.TimeKernel(OpKind::kGatherRows, {}, {x, bench.Integers(tokens, 11, tokens)}, {y});
}

void BenchHead(Bench& bench) {
  const int64_t rows = bench.options().head_tokens;
  const int64_t vocabulary = bench.options().vocabulary;
  const View logits = bench.Floats(bench.compute(), {rows, vocabulary});
  const View dlogits = bench.Floats(bench.compute(), logits.shape);
  const View targets = bench.Integers(rows, 331, vocabulary);
  const View statistics = bench.Empty(DType::kF32, {rows, 3});
  const View loss = bench.Empty(DType::kF32, {rows});
  const Attributes attributes = {{"vocabulary", vocabulary}};
  bench.TimeKernel(OpKind::kSoftmaxStatistics, attributes, {logits, targets}, {statistics});
  bench.TimeKernel(OpKind::kCrossEntropyGrad, attributes, {logits, statistics, targets}, {dlogits, loss});
}

// Mixture of experts: each token goes to two of eight, and the rows of both are as many as the other
// activations have. What works on logits and choices alone moves few bytes: those rows tell how long a launch
// is, or a sort. The router's results are what the others are given.
void BenchExperts(Bench& bench) {
  constexpr int64_t kExperts = 8, kChosen = 2, kSequences = 4;
  const int64_t tokens = bench.options().tokens / kChosen / kSequences * kSequences;
  const int64_t rows = tokens * kChosen, width = bench.options().width;
  const Shape chosen = {tokens, kChosen};
  const View logits = bench.Floats(bench.compute(), {tokens, kExperts});
  const View weights = bench.Empty(DType::kF32, chosen);
  const View experts = bench.Empty(DType::kI32, chosen);
  bench.TimeKernel(OpKind::kRouter, {}, {logits}, {weights, experts});
  bench.TimeKernel(OpKind::kRouterGrad, {{"num_experts", kExperts}},
                   {bench.Floats(DType::kF32, chosen), weights, experts},
                   {bench.Empty(bench.compute(), logits.shape)});
  const View counts = bench.Empty(DType::kI32, {kSequences, kExperts});
  const Attributes whole = {{"tp_shards", int64_t{1}}, {"balanced", int64_t{0}}};
  bench.TimeKernel(OpKind::kCountChoices, whole, {experts}, {counts});
  const Attributes loss = {{"sequence_length", tokens / kSequences},
                           {"tp_shards", int64_t{1}},
                           {"balanced", int64_t{0}},
                           {"balance", 0.01},
                           {"z", 0.001}};
  bench.TimeKernel(OpKind::kRouterLossGrad, loss, {logits, counts},
                   {bench.Empty(DType::kF32, {tokens}), bench.Empty(bench.compute(), logits.shape)});
  const View order = bench.Empty(DType::kI32, {rows});
  const View place = bench.Empty(DType::kI32, {rows});
  bench.TimeKernel(OpKind::kGroupByExpert, {}, {experts},
                   {order, place, bench.Empty(DType::kI32, {kExperts + 1})});
  const View x = bench.Floats(bench.compute(), {tokens, width});
  const View sorted = bench.Floats(bench.compute(), {rows, width});
  bench.TimeKernel(OpKind::kPermuteRows, {}, {x, order, place}, {sorted});
  bench.TimeKernel(OpKind::kPermuteRowsGrad, {}, {sorted, place}, {x});
  bench.TimeKernel(OpKind::kCombineRows, {}, {sorted, weights, place}, {x});
  bench.TimeKernel(OpKind::kCombineRowsGrad, {}, {x, sorted, weights, place},
                   {bench.Empty(bench.compute(), sorted.shape), bench.Empty(DType::kF32, chosen)});
}

void BenchOptimizer(Bench& bench) {
  const Shape flat = {bench.options().tokens * bench.options().width};
  const View gradient = bench.Floats(DType::kF32, flat);
  const View p = bench.Floats(DType::kF32, flat);
  const View m = bench.Floats(DType::kF32, flat);
  const View v = bench.Empty(DType::kF32, flat);
  const View factors = bench.Empty(DType::kF64, {kNumStepFactors});
  const std::vector<double> halves(kNumStepFactors, 0.5);
  bench.device().CopyToDevice(factors.data, halves.data(), kNumStepFactors * SizeOf(DType::kF64), 0);
  bench.TimeKernel(OpKind::kSquaredNorm, {}, {gradient}, {bench.Empty(DType::kF64, {1})});
  bench.TimeKernel(OpKind::kAdamW,
                   {{"beta1", 0.9}, {"beta2", 0.95}, {"epsilon", 1e-8}, {"weight_decay", 0.1}},
                   {gradient, p, m, v, factors}, {p, m, v});
}

}  // namespace

std::vector<KernelTiming> BenchmarkKernels(const KernelBenchmark& options, Device& device) {
  Bench bench(options, device);
  BenchCopy(bench);
  BenchElementwise(bench);
  BenchNorms(bench);
  BenchTokens(bench);
  BenchHead(bench);
  BenchExperts(bench);
  BenchOptimizer(bench);
  return bench.Finish();
}

}  // namespace trireme
