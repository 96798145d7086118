#include "parallel/reduction.h"

#include <glog/logging.h>

#include <algorithm>
#include <type_traits>

namespace trireme {
namespace {

// Elements added at a time: the accumulators stay in the first-level cache and let `out` alias a source.
constexpr int64_t kBlock = 1024;

template <typename Accumulator>
struct Sum {
  static Accumulator Of(Accumulator a, Accumulator b) {
    if constexpr (std::is_integral_v<Accumulator>) {
      using Unsigned = std::make_unsigned_t<Accumulator>;
      return static_cast<Accumulator>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
    } else {
      return a + b;
    }
  }
};

template <typename Accumulator>
struct Max {
  // The second comparison keeps a NaN on the left; one on the right wins because no comparison with it holds.
  static Accumulator Of(Accumulator a, Accumulator b) { return a > b || a != a ? a : b; }
};

template <typename T, typename Accumulator, template <typename> typename Op>
void Reduce(absl::Span<const void* const> sources, void* out, int64_t count) {
  Accumulator block[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    const T* first = static_cast<const T*>(sources[0]) + begin;
    for (int64_t i = 0; i < n; ++i) block[i] = static_cast<Accumulator>(first[i]);
    for (const void* source : sources.subspan(1)) {
      const T* next = static_cast<const T*>(source) + begin;
      for (int64_t i = 0; i < n; ++i)
        block[i] = Op<Accumulator>::Of(block[i], static_cast<Accumulator>(next[i]));
    }
    T* result = static_cast<T*>(out) + begin;
    for (int64_t i = 0; i < n; ++i) result[i] = static_cast<T>(block[i]);
  }
}

template <template <typename> typename Op>
void ReduceByDType(absl::Span<const void* const> sources, void* out, int64_t count, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return Reduce<float, float, Op>(sources, out, count);
    case DType::kBF16:
      return Reduce<Bf16, float, Op>(sources, out, count);
    case DType::kF64:
      return Reduce<double, double, Op>(sources, out, count);
    case DType::kI32:
      return Reduce<int32_t, int32_t, Op>(sources, out, count);
    case DType::kI64:
      return Reduce<int64_t, int64_t, Op>(sources, out, count);
    case DType::kU8:
      break;
  }
  LOG(FATAL) << "there is no reduction of " << Name(dtype);
}

}  // namespace

void ReduceInOrder(absl::Span<const void* const> sources, void* out, int64_t count, DType dtype,
                   ReduceOp op) {
  CHECK(!sources.empty());
  if (op == ReduceOp::kSum) {
    ReduceByDType<Sum>(sources, out, count, dtype);
  } else {
    ReduceByDType<Max>(sources, out, count, dtype);
  }
}

}  // namespace trireme
