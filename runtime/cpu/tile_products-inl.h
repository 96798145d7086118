// Small fp32 products on tiles that lie in the cache, and what packs and transposes tiles. Included once for
// every instruction set, after simd-inl.h (Highway's convention for "-inl.h" files).
#if defined(TRIREME_RUNTIME_CPU_TILE_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRIREME_RUNTIME_CPU_TILE_PRODUCTS_INL_H_
#undef TRIREME_RUNTIME_CPU_TILE_PRODUCTS_INL_H_
#else
#define TRIREME_RUNTIME_CPU_TILE_PRODUCTS_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"
#include "runtime/cpu/attention_tiles.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

// Rows of a product that are computed together, and vectors of a row: their sums must fit into the registers
// beside the operands.
inline constexpr int kProductRows = 4;
#if HWY_TARGET == HWY_AVX2
inline constexpr int kProductVectors = 2;
#else
inline constexpr int kProductVectors = 4;
#endif
static_assert(kProductRows == kStepKeys);

// The left operand of a product: element (i, k) stands at data[i * stride + k], or, where transposed, at
// data[k * stride + i].
struct Left {
  const float* data;
  int64_t stride;
};
struct Right {
  const float* data;  // row k, 64-byte aligned
  int64_t stride;
};
struct Result {
  float* data;
  int64_t stride;
};

enum class Start { kZero, kAdd, kScaledAdd };

// result[i][j] = start + sum over k < depth of left(i, k) * right[k][j], for 4 rows i and kVectors vectors j.
// start is 0, the old result[i][j], or row_scale[i] times that.
template <int kVectors, bool kTransposed, Start kStart>
HWY_INLINE void StripProduct(Left left, Right right, int64_t depth, Result result, const float* row_scale) {
  const F32 d;
  const int64_t lanes = NumLanes();
  VF32 sums[kProductRows][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kProductRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      sums[i][v] = hn::Zero(d);
      if constexpr (kStart != Start::kZero) {
        sums[i][v] = hn::Load(d, result.data + i * result.stride + v * lanes);
      }
      if constexpr (kStart == Start::kScaledAdd) sums[i][v] = hn::Mul(sums[i][v], hn::Set(d, row_scale[i]));
    }
  }
  const float* HWY_RESTRICT a = left.data;
  const float* HWY_RESTRICT b = right.data;
  for (int64_t k = 0; k < depth; ++k) {
    VF32 row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row[v] = hn::Load(d, b + v * lanes);
#pragma GCC unroll 4
    for (int i = 0; i < kProductRows; ++i) {
      const VF32 factor = hn::Set(d, kTransposed ? a[i] : a[i * left.stride]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[i][v] = hn::MulAdd(factor, row[v], sums[i][v]);
    }
    a += kTransposed ? left.stride : 1;
    b += right.stride;
  }
#pragma GCC unroll 4
  for (int i = 0; i < kProductRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) hn::Store(sums[i][v], d, result.data + i * result.stride + v * lanes);
  }
}

// The same for any number of vectors: 4 rows, `columns` columns (whole vectors).
template <bool kTransposed, Start kStart>
HWY_INLINE void RowsProduct(Left left, Right right, int64_t depth, Result result, int64_t columns,
                            const float* row_scale = nullptr) {
  const int64_t lanes = NumLanes();
  int64_t vectors = columns / lanes;
  int64_t strips = (vectors + kProductVectors - 1) / kProductVectors;
  for (; strips > 0; --strips) {
    const int64_t now = (vectors + strips - 1) / strips;
    switch (now) {
      case 1:
        StripProduct<1, kTransposed, kStart>(left, right, depth, result, row_scale);
        break;
      case 2:
        StripProduct<2, kTransposed, kStart>(left, right, depth, result, row_scale);
        break;
#if HWY_TARGET != HWY_AVX2
      case 3:
        StripProduct<3, kTransposed, kStart>(left, right, depth, result, row_scale);
        break;
      default:
        StripProduct<4, kTransposed, kStart>(left, right, depth, result, row_scale);
#endif
    }
    vectors -= now;
    right.data += now * lanes;
    result.data += now * lanes;
  }
}

// tile[i][j] = factor * from[i][j] for `count` rows of `size` elements; zero up to `padded_size` elements and
// up to `rows` rows. Tiles are dense, [rows, padded_size].
template <typename T>
HWY_INLINE void PackRows(const T* from, int64_t stride, int64_t count, int64_t size, float factor,
                         float* tile, int64_t rows, int64_t padded_size) {
  const F32 d;
  const int64_t lanes = NumLanes();
  const VF32 scale = hn::Set(d, factor);
  for (int64_t i = 0; i < count; ++i) {
    int64_t j = 0;
    for (; j + lanes <= size; j += lanes) {
      hn::Store(hn::Mul(scale, Load(from + i * stride + j)), d, tile + i * padded_size + j);
    }
    if (j < size) {
      hn::Store(hn::Mul(scale, LoadPart(from + i * stride + j, size - j)), d, tile + i * padded_size + j);
      j += lanes;
    }
    for (; j < padded_size; j += lanes) hn::Store(hn::Zero(d), d, tile + i * padded_size + j);
  }
  std::fill(tile + count * padded_size, tile + rows * padded_size, 0.0f);
}

// to[i][j] = factor * tile[i][j] for the unpadded part of a tile; factor is one number, or one a row.
template <typename T>
HWY_INLINE void UnpackRow(const float* tile, float factor, int64_t size, T* to) {
  const VF32 scale = hn::Set(F32(), factor);
  Map(
      size, [scale](VF32 x) HWY_ATTR { return hn::Mul(scale, x); }, to, tile);
}

// to[j][i] = tile[i][j]; both multiples of 4.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void Transpose(const float* tile, int64_t rows, int64_t cols, float* to) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) to[j * rows + i] = tile[i * cols + j];
  }
}
#else
HWY_INLINE void Transpose(const float* tile, int64_t rows, int64_t cols, float* to) {
  const hn::FixedTag<float, 4> d;
  const hn::FixedTag<double, 2> d64;
  const auto pairs = [&](auto v) HWY_ATTR { return hn::BitCast(d64, v); };
  for (int64_t i = 0; i < rows; i += 4) {
    for (int64_t j = 0; j < cols; j += 4) {
      const float* from = tile + i * cols + j;
      const auto r0 = hn::Load(d, from), r1 = hn::Load(d, from + cols);
      const auto r2 = hn::Load(d, from + 2 * cols), r3 = hn::Load(d, from + 3 * cols);
      const auto low01 = pairs(hn::InterleaveLower(d, r0, r1)),
                 high01 = pairs(hn::InterleaveUpper(d, r0, r1));
      const auto low23 = pairs(hn::InterleaveLower(d, r2, r3)),
                 high23 = pairs(hn::InterleaveUpper(d, r2, r3));
      float* out = to + j * rows + i;
      hn::Store(hn::BitCast(d, hn::InterleaveLower(d64, low01, low23)), d, out);
      hn::Store(hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23)), d, out + rows);
      hn::Store(hn::BitCast(d, hn::InterleaveLower(d64, high01, high23)), d, out + 2 * rows);
      hn::Store(hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23)), d, out + 3 * rows);
    }
  }
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
