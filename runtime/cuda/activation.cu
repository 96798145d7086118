// Activations of the feed-forward, element by element. Floors, T rows of F columns of s bytes: GELU 2 s TF,
// its gradient 3 s TF; SwiGLU 3 s TF, its gradient 5 s TF.
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/map.h"
#include "runtime/cuda/parts.h"

namespace trireme {
namespace {

// 0 and 1 where exp(-x) is infinite or 0: FastDivide of an infinity is 0.
GPU_FN float Sigmoid(float x) {
  return FastDivide(1.0f, 1.0f + FastExp(-x));
}

// (1 + tanh(u)) / 2 = sigmoid(2 u): one exponential. u = sqrt(2 / pi) (x + 0.044715 x^3).
constexpr float kTwoRootTwoOverPi = 1.5957691216057308f;
constexpr float kCubic = 0.044715f;

struct GeluOf {
  GPU_FN float operator()(float x) const { return x * Sigmoid(kTwoRootTwoOverPi * (x + kCubic * x * x * x)); }
};

struct GeluGradOf {
  GPU_FN float operator()(float dy, float x) const {
    const float s = Sigmoid(kTwoRootTwoOverPi * (x + kCubic * x * x * x));
    const float slope = kTwoRootTwoOverPi * (1.0f + 3.0f * kCubic * x * x);
    return dy * (s + x * s * (1.0f - s) * slope);
  }
};

constexpr int kThreads = 128;
constexpr int kVectors = 2;  // of gate and of up, a thread

// What a thread of the gated kernels works on: vector v begins at column(v) of a row. A row is cut into
// tiles, a block each.
template <int N>
struct GatedTile {
  GPU_FN GatedTile(int64_t tiles, int64_t cols)
      : row(blockIdx.x / tiles),
        first(((blockIdx.x - row * tiles) * kVectors * kThreads + threadIdx.x) * N),
        cols(cols) {}
  GPU_FN int64_t column(int v) const { return first + v * kThreads * N; }
  GPU_FN int64_t rest(int v) const { return cols - column(v); }
  int64_t row;
  int64_t first;
  int64_t cols;
};

template <bool kAligned, typename T>
GPU_KERNEL(kThreads)
SwiGluKernel(int64_t tiles, int64_t cols, const T* gate_up, T* y) {
  constexpr int N = kVectorSize<T>;
  const GatedTile<N> tile(tiles, cols);
  const T* gate_row = gate_up + tile.row * 2 * cols;
  Vec<T, N> gates[kVectors];
  Vec<T, N> ups[kVectors];
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    gates[v] = LoadPart<kAligned, N>(gate_row + tile.column(v), tile.rest(v));
    ups[v] = LoadPart<kAligned, N>(gate_row + cols + tile.column(v), tile.rest(v));
  }
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    Vec<float, N> result;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float gate = ToFloat(gates[v][i]);
      result[i] = gate * Sigmoid(gate) * ToFloat(ups[v][i]);
    }
    StorePart<kAligned>(y + tile.row * cols + tile.column(v), FromFloat<T>(result), tile.rest(v));
  }
}

// dgate_up may be gate_up.
template <bool kAligned, typename T>
GPU_KERNEL(kThreads)
SwiGluGradKernel(int64_t tiles, int64_t cols, const T* dy, const T* gate_up, T* dgate_up) {
  constexpr int N = kVectorSize<T>;
  const GatedTile<N> tile(tiles, cols);
  const int64_t gate_row = tile.row * 2 * cols;
  Vec<T, N> gates[kVectors];
  Vec<T, N> ups[kVectors];
  Vec<T, N> gradients[kVectors];
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    gates[v] = LoadPart<kAligned, N>(gate_up + gate_row + tile.column(v), tile.rest(v));
    ups[v] = LoadPart<kAligned, N>(gate_up + gate_row + cols + tile.column(v), tile.rest(v));
    gradients[v] = LoadPart<kAligned, N>(dy + tile.row * cols + tile.column(v), tile.rest(v));
  }
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    Vec<float, N> dgate;
    Vec<float, N> dup;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float gate = ToFloat(gates[v][i]);
      const float gradient = ToFloat(gradients[v][i]);
      const float sigmoid = Sigmoid(gate);
      dgate[i] = gradient * ToFloat(ups[v][i]) * sigmoid * (1.0f + gate * (1.0f - sigmoid));
      dup[i] = gradient * gate * sigmoid;
    }
    T* target = dgate_up + gate_row + tile.column(v);
    StorePart<kAligned>(target, FromFloat<T>(dgate), tile.rest(v));
    StorePart<kAligned>(target + cols, FromFloat<T>(dup), tile.rest(v));
  }
}

template <typename T>
int64_t TilesOf(int64_t cols) {
  return CeilDiv<int64_t>(cols, kThreads * kVectors * kVectorSize<T>);
}

}  // namespace

void GeluCuda(const KernelArguments& a) {
  const View& y = a.outputs[0];
  ForCudaFloat(y.dtype, [&](auto type) {
    using T = decltype(type);
    Map(GeluOf{}, y.shape.num_elements(), a.stream, y.as<T>(), a.inputs[0].as<const T>());
  });
}

void GeluGradCuda(const KernelArguments& a) {
  const View& dx = a.outputs[0];
  ForCudaFloat(dx.dtype, [&](auto type) {
    using T = decltype(type);
    Map(GeluGradOf{}, dx.shape.num_elements(), a.stream, dx.as<T>(), a.inputs[0].as<const T>(),
        a.inputs[1].as<const T>());
  });
}

void SwiGluCuda(const KernelArguments& a) {
  const View& y = a.outputs[0];
  const int64_t cols = y.shape.cols();
  ForCudaFloat(y.dtype, [&](auto type) {
    using T = decltype(type);
    const T* gate_up = a.inputs[0].as<T>();
    const int64_t tiles = TilesOf<T>(cols);
    const unsigned grid = GridOf(y.shape.rows() * tiles);
    const bool aligned = IsVectorAligned(gate_up, cols) && IsVectorAligned(y.as<T>());
    const auto kernel = aligned ? SwiGluKernel<true, T> : SwiGluKernel<false, T>;
    GPU_LAUNCH(kernel, grid, kThreads, 0, a.stream, tiles, cols, gate_up, y.as<T>());
  });
}

void SwiGluGradCuda(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  const int64_t cols = shape.cols();
  ForCudaFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const T* dy = a.inputs[0].as<T>();
    const T* gate_up = a.inputs[1].as<T>();
    T* dgate_up = a.outputs[0].as<T>();
    const int64_t tiles = TilesOf<T>(cols);
    const unsigned grid = GridOf(shape.rows() * tiles);
    const bool aligned = IsVectorAligned(dy, cols) && IsVectorAligned(gate_up) && IsVectorAligned(dgate_up);
    const auto kernel = aligned ? SwiGluGradKernel<true, T> : SwiGluGradKernel<false, T>;
    GPU_LAUNCH(kernel, grid, kThreads, 0, a.stream, tiles, cols, dy, gate_up, dgate_up);
  });
}

}  // namespace trireme
