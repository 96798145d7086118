// Rotary embedding of packed projections, in place or not: pairs (i, i + A/2) of every query and key head
// turn by position * theta^(-2 i / A). x, y [T, (H + 2K) A] of s bytes; positions i32 [T]. Floor in place: 2
// s T (H + K) A bytes; else the value heads are copied as well. A block takes kTokens rows, so that an angle
// serves all heads of a token.
#include <cmath>

#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"
#include "runtime/cuda/parts.h"

namespace trireme {
namespace {

constexpr int kThreads = 256;
constexpr int kTokens = 4;  // of a block

struct RopeShape {
  int64_t tokens;
  int64_t cols;       // (H + 2K) A
  int heads;          // H + K, which turn
  int half;           // A / 2
  bool copies;        // the columns behind the heads that turn
  double log2_theta;  // of the base
  double direction;   // 1, or -1 to turn back
};

struct Turn {
  float cosine;
  float sine;
};

// Cosine and sine of an angle given in turns: whole quarter turns are taken off, then Taylor series, which
// are left off below 2^-53, serve angles up to pi / 4. In double, because a position times a frequency has
// more digits than a float; not by sincos, whose path for large angles needs memory of its own.
GPU_FN Turn TurnBy(double turns) {
  constexpr double kTwoPi = 6.283185307179586476925;
  const double quarters = rint(4 * turns);
  const double x = (turns - 0.25 * quarters) * kTwoPi;
  const double y = x * x;
  double sine = -7.647163731819816e-13;  // -1/15!
  sine = sine * y + 1.6059043836821613e-10;
  sine = sine * y - 2.505210838544172e-08;
  sine = sine * y + 2.7557319223985893e-06;
  sine = sine * y - 1.984126984126984e-04;
  sine = sine * y + 8.333333333333333e-03;
  sine = sine * y - 1.6666666666666666e-01;
  sine = sine * y * x + x;
  double cosine = 4.779477332387385e-14;  // 1/16!
  cosine = cosine * y - 1.1470745597729725e-11;
  cosine = cosine * y + 2.08767569878681e-09;
  cosine = cosine * y - 2.755731922398589e-07;
  cosine = cosine * y + 2.48015873015873e-05;
  cosine = cosine * y - 1.388888888888889e-03;
  cosine = cosine * y + 4.1666666666666664e-02;
  cosine = cosine * y - 0.5;
  cosine = cosine * y + 1;
  const auto quadrant = static_cast<int>(static_cast<int64_t>(quarters) & 3);
  const double c = quadrant % 2 == 0 ? cosine : sine;
  const double s = quadrant % 2 == 0 ? sine : cosine;
  return {static_cast<float>(quadrant == 1 || quadrant == 2 ? -c : c),
          static_cast<float>(quadrant >= 2 ? -s : s)};
}

template <bool kAligned, typename T>
GPU_FN void TurnVectors(const T* x, const Turn* turns, int half, int first, T* y) {
  constexpr int N = kVectorSize<T>;
  const Vec<float, N> low = ToFloat(LoadPart<kAligned, N>(x + first, half - first));
  const Vec<float, N> high = ToFloat(LoadPart<kAligned, N>(x + half + first, half - first));
  Vec<float, N> turned_low;
  Vec<float, N> turned_high;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const Turn turn = turns[kAligned || first + i < half ? first + i : first];
    turned_low[i] = low[i] * turn.cosine - high[i] * turn.sine;
    turned_high[i] = high[i] * turn.cosine + low[i] * turn.sine;
  }
  StorePart<kAligned>(y + first, FromFloat<T>(turned_low), half - first);
  StorePart<kAligned>(y + half + first, FromFloat<T>(turned_high), half - first);
}

// kAligned: heads begin at aligned addresses, and half a head is whole vectors.
template <bool kAligned, typename T>
GPU_KERNEL(kThreads)
RopeKernel(RopeShape s, const T* x, const int32_t* positions, T* y) {
  constexpr int N = kVectorSize<T>;
  DSMEM(Turn, turns);  // [kTokens][half]
  const int64_t first_token = static_cast<int64_t>(blockIdx.x) * kTokens;
  const int tokens = static_cast<int>(Min<int64_t>(kTokens, s.tokens - first_token));
  for (int i = static_cast<int>(threadIdx.x); i < tokens * s.half; i += kThreads) {
    const int token = i / s.half;
    const int pair = i - token * s.half;
    constexpr double kTurnsPerRadian = 0.15915494309189533577;
    const double frequency = exp2(-s.log2_theta * pair / s.half) * kTurnsPerRadian;
    turns[i] = TurnBy(s.direction * positions[first_token + token] * frequency);
  }
  __syncthreads();
  const int vectors = CeilDiv(s.half, N);  // of half a head
  const int turning = s.heads * vectors;
  const int64_t rest = s.cols - int64_t{s.heads} * 2 * s.half;  // columns that do not turn
  const int copied = s.copies ? static_cast<int>(CeilDiv<int64_t>(rest, N)) : 0;
  for (int i = static_cast<int>(threadIdx.x); i < tokens * (turning + copied); i += kThreads) {
    const int token = i / (turning + copied);
    const int item = i - token * (turning + copied);
    const int64_t row = (first_token + token) * s.cols;
    if (GPU_BRANCH(turns, item < turning)) {
      const int head = item / vectors;
      const int64_t at = row + int64_t{head} * 2 * s.half;
      TurnVectors<kAligned>(x + at, turns + token * s.half, s.half, (item - head * vectors) * N, y + at);
    } else {
      const int64_t column = int64_t{item - turning} * N;
      const int64_t at = row + s.cols - rest + column;
      StorePart<kAligned>(y + at, LoadPart<kAligned, N>(x + at, rest - column), rest - column);
    }
  }
}

}  // namespace

void RopeCuda(const KernelArguments& a) {
  const Shape& shape = a.inputs[0].shape;
  const Attributes& attributes = a.op.attributes;
  const auto half = static_cast<int>(attributes.Int("head_size") / 2);
  const RopeShape s = {.tokens = shape.rows(),
                       .cols = shape.cols(),
                       .heads = static_cast<int>(attributes.Int("query_heads") + attributes.Int("key_heads")),
                       .half = half,
                       .copies = a.inputs[0].data != a.outputs[0].data,
                       .log2_theta = std::log2(attributes.Float("theta")),
                       .direction = attributes.Int("inverse") != 0 ? -1.0 : 1.0};
  ForCudaFloat(a.outputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const T* x = a.inputs[0].as<T>();
    T* y = a.outputs[0].as<T>();
    const bool aligned = IsVectorAligned(x, half) && IsVectorAligned(y);
    const auto kernel = aligned ? RopeKernel<true, T> : RopeKernel<false, T>;
    GPU_LAUNCH(kernel, GridOf(CeilDiv<int64_t>(s.tokens, kTokens)), kThreads, kTokens * half * sizeof(Turn),
               a.stream, s, x, a.inputs[1].as<const int32_t>(), y);
  });
}

}  // namespace trireme
