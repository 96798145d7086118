// Element by element: sums, conversions, and what is kept on one rank. Floors, n elements of s bytes: Add 3 s
// n; Cast (from + to) n; Accumulate 8 n, adding 12 n; KeepOnFirst 2 s n, or s n where it clears, 0 in place.
#include <glog/logging.h>

#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/map.h"

namespace trireme {
namespace {

struct Identity {
  GPU_FN float operator()(float x) const { return x; }
};
struct Sum {
  GPU_FN float operator()(float x, float y) const { return x + y; }
};

// Through float only where neither is f64: to bf16 everything goes through float, as the definition does.
template <typename To, typename From>
GPU_FN To Convert(From x) {
  if constexpr (std::is_same_v<From, bf16>) {
    return static_cast<To>(ToFloat(x));
  } else if constexpr (std::is_same_v<To, bf16>) {
    return FromFloat<bf16>(static_cast<float>(x));
  } else {
    return static_cast<To>(x);
  }
}

// Casts from or to f64, which are rare.
template <typename To, typename From>
GPU_KERNEL(256)
CastWideKernel(int64_t n, To* y, const From* x) {
  for (int64_t i = GridThread(); i < n; i += GridThreads()) y[i] = Convert<To>(x[i]);
}

template <typename F>
void ForAnyFloat(DType dtype, F f) {
  if (dtype == DType::kF64) return f(double{});
  ForCudaFloat(dtype, f);
}

}  // namespace

void AddCuda(const KernelArguments& a) {
  const View& y = a.outputs[0];
  ForCudaFloat(y.dtype, [&](auto type) {
    using T = decltype(type);
    Map(Sum{}, y.shape.num_elements(), a.stream, y.as<T>(), a.inputs[0].as<const T>(),
        a.inputs[1].as<const T>());
  });
}

void CastCuda(const KernelArguments& a) {
  const View& x = a.inputs[0];
  const View& y = a.outputs[0];
  const int64_t n = y.shape.num_elements();
  ForAnyFloat(x.dtype, [&](auto from) {
    ForAnyFloat(y.dtype, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      if constexpr (std::is_same_v<From, double> || std::is_same_v<To, double>) {
        GPU_LAUNCH((CastWideKernel<To, From>), GridOf(CeilDiv<int64_t>(n, 256)), 256, 0, a.stream, n,
                   y.as<To>(), x.as<const From>());
      } else {
        Map(Identity{}, n, a.stream, y.as<To>(), x.as<const From>());
      }
    });
  });
}

void AccumulateCuda(const KernelArguments& a) {
  if (a.inputs[0].dtype == DType::kI64) return AccumulateWholeCuda(a);
  const float* x = WideOf(a.inputs[0]);
  float* y = WideOf(a.outputs[0]);
  const int64_t n = a.outputs[0].shape.num_elements();
  if (a.accumulate) {
    Map(Sum{}, n, a.stream, y, x, static_cast<const float*>(y));
  } else {
    Map(Identity{}, n, a.stream, y, x);
  }
}

void KeepOnFirstCuda(const KernelArguments& a) {
  const View& x = a.inputs[0];
  const int64_t bytes = x.shape.num_elements() * SizeOf(x.dtype);
  void* y = a.outputs[0].data;
  const auto stream = static_cast<cudaStream_t>(a.stream);
  if (a.coordinate[a.op.attributes.AxisOf("axis")] != 0) {
    CHECK_EQ(cudaMemsetAsync(y, 0, bytes, stream), cudaSuccess);
  } else if (y != x.data) {
    CHECK_EQ(cudaMemcpyAsync(y, x.data, bytes, cudaMemcpyDeviceToDevice, stream), cudaSuccess);
  }
}

}  // namespace trireme
