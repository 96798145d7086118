#include "runtime/cpu/gemm.h"

#include <glog/logging.h>
#include <omp.h>

#include <cstring>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace trireme {
namespace {

using dnnl::matmul;
using dnnl::memory;

memory::data_type DnnlType(DType dtype) {
  CHECK(dtype == DType::kF32 || dtype == DType::kBF16) << "Gemm of " << Name(dtype);
  return dtype == DType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
}

// [rows, cols] as the product sees it; stored the other way round where transposed.
memory::desc MatrixDesc(int64_t rows, int64_t cols, bool transposed, int64_t row_stride, DType dtype) {
  if (row_stride == 0) row_stride = transposed ? rows : cols;
  const memory::dims strides = transposed ? memory::dims{1, row_stride} : memory::dims{row_stride, 1};
  return {{rows, cols}, DnnlType(dtype), strides};
}

// oneDNN asks OpenMP how many threads to use, when it builds a primitive and when it runs one.
class ScopedNumThreads {
 public:
  explicit ScopedNumThreads(int num_threads) : previous_(omp_get_max_threads()) {
    if (num_threads != previous_) omp_set_num_threads(num_threads);
  }
  ScopedNumThreads(const ScopedNumThreads&) = delete;
  ScopedNumThreads& operator=(const ScopedNumThreads&) = delete;
  ~ScopedNumThreads() {
    if (omp_get_max_threads() != previous_) omp_set_num_threads(previous_);
  }

 private:
  const int previous_;
};

// A primitive and the memory objects of its operands, which are pointed at other data for each execution.
class Product {
 public:
  Product(const GemmSpec& spec, const dnnl::engine& engine, const matmul::primitive_desc& desc)
      : has_bias_(spec.bias),
        workspace_bytes_(static_cast<int64_t>(desc.scratchpad_desc().get_size())),
        matmul_(desc),
        a_(desc.src_desc(), engine, nullptr),
        b_(desc.weights_desc(), engine, nullptr),
        bias_(desc.bias_desc(), engine, nullptr),
        c_(desc.dst_desc(), engine, nullptr),
        scratchpad_(desc.scratchpad_desc(), engine, nullptr) {}

  int64_t workspace_bytes() const { return workspace_bytes_; }

  void Run(dnnl::stream& stream, const void* a, const void* b, const void* bias, void* c, void* workspace) {
    // oneDNN's handles are not const; the sources are only read.
    a_.set_data_handle(const_cast<void*>(a));
    b_.set_data_handle(const_cast<void*>(b));
    c_.set_data_handle(c);
    if (has_bias_) bias_.set_data_handle(const_cast<void*>(bias));
    if (workspace_bytes_ > 0) scratchpad_.set_data_handle(workspace);
    // The C interface: the C++ one builds a map and a vector on the heap for every execution.
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, a_.get()},
                                         {DNNL_ARG_WEIGHTS, b_.get()},
                                         {DNNL_ARG_DST, c_.get()},
                                         {DNNL_ARG_SCRATCHPAD, scratchpad_.get()},
                                         {DNNL_ARG_BIAS, bias_.get()}};
    const dnnl_status_t status =
        dnnl_primitive_execute(matmul_.get(), stream.get(), has_bias_ ? 5 : 4, arguments);
    CHECK_EQ(status, dnnl_success) << "oneDNN could not run a product";
  }

 private:
  bool has_bias_;
  int64_t workspace_bytes_;
  matmul matmul_;
  memory a_, b_, bias_, c_, scratchpad_;
};

matmul::primitive_desc Describe(const GemmSpec& s, const dnnl::engine& engine) {
  const memory::desc a = MatrixDesc(s.m, s.k, s.transpose_a, s.row_stride_a, s.input);
  const memory::desc b = MatrixDesc(s.k, s.n, s.transpose_b, s.row_stride_b, s.input);
  const memory::desc c = MatrixDesc(s.m, s.n, false, s.row_stride_c, s.output);
  const memory::desc bias =
      s.bias ? memory::desc({1, s.n}, memory::data_type::f32, memory::dims{s.n, 1}) : memory::desc();
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (s.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  // Empty where oneDNN has no implementation on this CPU.
  return {matmul::desc(a, b, bias, c), attributes, engine, /*allow_empty=*/true};
}

class ProductCache {
 public:
  static ProductCache& OfThisThread() {
    thread_local ProductCache cache;
    return cache;
  }

  Product& Find(const GemmSpec& spec) {
    std::unique_ptr<Product>& product = products_[spec];
    if (product == nullptr) {
      const matmul::primitive_desc desc = Describe(spec, engine_);
      CHECK(desc.get(true) != nullptr) << "oneDNN has no " << Name(spec.input) << " product of " << spec.m
                                       << " x " << spec.k << " x " << spec.n << " here";
      product = std::make_unique<Product>(spec, engine_, desc);
    }
    return *product;
  }

  dnnl::engine& engine() { return engine_; }
  dnnl::stream& stream() { return stream_; }

 private:
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  absl::flat_hash_map<GemmSpec, std::unique_ptr<Product>> products_;
};

void CheckSpec(const GemmSpec& s) {
  CHECK(s.m >= 0 && s.n >= 0 && s.k >= 0) << s.m << " x " << s.k << " x " << s.n;
  CHECK(s.epilogue == GemmEpilogue::kNone) << "oneDNN is asked for products alone";
  CHECK(!s.accumulate || s.output == DType::kF32) << "only an f32 C is added to";
  CHECK(s.input == DType::kBF16 || s.output == DType::kF32) << "an f32 product has an f32 result";
}

// The sum over nothing.
void EmptyProduct(const GemmSpec& s, const void* bias, void* c) {
  const int64_t stride = s.row_stride_c == 0 ? s.n : s.row_stride_c;
  const auto* b = static_cast<const float*>(bias);
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.n; ++j) {
      const float value = s.bias ? b[j] : 0.0f;
      if (s.output == DType::kBF16) {
        static_cast<Bf16*>(c)[i * stride + j] = Bf16(value);
      } else if (s.accumulate) {
        static_cast<float*>(c)[i * stride + j] += value;
      } else {
        static_cast<float*>(c)[i * stride + j] = value;
      }
    }
  }
}

}  // namespace

bool HasBf16Products() {
  static const bool has = [] {
    const GemmSpec probe = {.m = 16, .n = 16, .k = 16, .input = DType::kBF16};
    return Describe(probe, ProductCache::OfThisThread().engine()).get(true) != nullptr;
  }();
  return has;
}

int64_t GemmWorkspaceBytes(const GemmSpec& spec) {
  CheckSpec(spec);
  if (spec.m == 0 || spec.n == 0 || spec.k == 0) return 0;
  if (spec.input == DType::kBF16 && !HasBf16Products()) return GemmByConversionWorkspaceBytes(spec);
  const ScopedNumThreads scope(spec.num_threads);
  return ProductCache::OfThisThread().Find(spec).workspace_bytes();
}

void Gemm(const GemmSpec& spec, const void* a, const void* b, const void* bias, void* c, void* workspace) {
  CheckSpec(spec);
  // oneDNN divides by zero where a dimension is.
  if (spec.m == 0 || spec.n == 0) return;
  if (spec.k == 0) return EmptyProduct(spec, bias, c);
  if (spec.input == DType::kBF16 && !HasBf16Products()) {
    return GemmByConversion(spec, a, b, bias, c, workspace);
  }
  const ScopedNumThreads scope(spec.num_threads);
  ProductCache& cache = ProductCache::OfThisThread();
  cache.Find(spec).Run(cache.stream(), a, b, bias, c, workspace);
}

}  // namespace trireme
