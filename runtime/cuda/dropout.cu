// Dropout by counter: element (t, d) is kept where word d % 4 of RandomWords(key, token_index[t], d / 4) is
// at least rate * 2^32. x, y [T, D]; token_index i64 [T]. Floor: 2 s T D bytes of s a element. y may be x.
#include <cmath>

#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/parts.h"
#include "runtime/random.h"

namespace trireme {
namespace {

constexpr int kThreads = 128;
constexpr int kVectors = 2;  // a thread
constexpr int kWords = 4;    // that Philox gives at a time

// An element is kept where its word is at least `threshold`.
struct Mask {
  uint2 key;
  uint32_t threshold;
  float scale;
};

GPU_FN float Drop(float x, uint32_t word, const Mask& mask) {
  return word >= mask.threshold ? x * mask.scale : 0.0f;
}

// A row is cut into tiles of kThreads * kVectors vectors, a block each.
template <bool kAligned, typename T>
GPU_KERNEL(kThreads)
DropoutKernel(Mask mask, int64_t tiles, int64_t cols, const T* x, const int64_t* token_index, T* y) {
  constexpr int N = kVectorSize<T>;
  static_assert(N % kWords == 0);
  const int64_t row = blockIdx.x / tiles;
  const int64_t first = ((blockIdx.x - row * tiles) * kVectors * kThreads + threadIdx.x) * N;
  const auto index = static_cast<uint64_t>(token_index[row]);
  Vec<T, N> vectors[kVectors];
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    const int64_t column = first + v * kThreads * N;
    vectors[v] = LoadPart<kAligned, N>(x + row * cols + column, cols - column);
  }
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    const int64_t column = first + v * kThreads * N;
    Vec<float, N> values = ToFloat(vectors[v]);
#pragma unroll
    for (int i = 0; i < N; i += kWords) {
      const uint4 words = RandomWords(mask.key, index, static_cast<uint64_t>(column + i) / kWords);
      values[i] = Drop(values[i], words.x, mask);
      values[i + 1] = Drop(values[i + 1], words.y, mask);
      values[i + 2] = Drop(values[i + 2], words.z, mask);
      values[i + 3] = Drop(values[i + 3], words.w, mask);
    }
    StorePart<kAligned>(y + row * cols + column, FromFloat<T>(values), cols - column);
  }
}

}  // namespace

void DropoutCuda(const KernelArguments& a) {
  const Shape& shape = a.outputs[0].shape;
  const int64_t cols = shape.cols();
  const Attributes& attributes = a.op.attributes;
  const double rate = attributes.Float("rate");
  const auto key = RandomStream(static_cast<uint64_t>(attributes.Int("seed")),
                                static_cast<uint64_t>(attributes.Int("name")))
                       .key();
  const Mask mask = {
      {key[0], key[1]}, static_cast<uint32_t>(std::ceil(rate * 0x1p32)), static_cast<float>(1 / (1 - rate))};
  ForCudaFloat(a.outputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const T* x = a.inputs[0].as<T>();
    T* y = a.outputs[0].as<T>();
    const int64_t tiles = CeilDiv<int64_t>(cols, kThreads * kVectors * kVectorSize<T>);
    const bool aligned = IsVectorAligned(x, cols) && IsVectorAligned(y);
    const auto kernel = aligned ? DropoutKernel<true, T> : DropoutKernel<false, T>;
    GPU_LAUNCH(kernel, GridOf(shape.rows() * tiles), kThreads, 0, a.stream, mask, tiles, cols, x,
               a.inputs[1].as<const int64_t>(), y);
  });
}

}  // namespace trireme
